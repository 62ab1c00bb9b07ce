/** The contract of targets, for a container. */
import { suite } from "node:test";
import { createEngine, type EngineParts } from "../../src/daemon/engine-parts.ts";
import { ContainerTarget } from "../../src/targets/container.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { type TestContainer, TestEngine } from "../support/engine/containers.ts";
import { engineEnv } from "../support/engine/engine.ts";
import { skip } from "../support/engine/lab.ts";
import { engineHost, isProxied } from "../support/engine/narrow-proxy.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Subject, type Temper, targetContract } from "../support/targets/target-contract.ts";

const host = await engineHost();
/** The engine uses whole seconds. */
const GRACE_MS = 1_000;

const reactions: Readonly<Record<Temper, string>> = { obedient: "exit 0", stubborn: "" };

function script(temper: Temper): string {
  return `
    trap '${reactions[temper]}' TERM
    trap 'echo last words; exit 7' USR2
    echo at work
    while :; do sleep 60 & wait; done
  `;
}

class ContainerSubject implements Subject {
  readonly target: ContainerTarget;
  readonly hidesOutput: boolean = isProxied;
  readonly #containers: TestEngine;
  readonly #container: TestContainer;
  readonly #parts: EngineParts;

  private constructor(containers: TestEngine, container: TestContainer) {
    this.#containers = containers;
    this.#container = container;
    const docker = host === undefined ? {} : { host };
    this.#parts = createEngine({ docker, source: "test.yaml" }, { env: engineEnv() }, observer(), () => false);
    this.target = new ContainerTarget({
      ...this.#parts,
      name: `container ${container.name}`,
      reference: { name: container.name },
      network: "auto",
      graceMs: GRACE_MS,
      isNamed: true,
      requiredLabel: undefined,
      onWarning: () => {},
    });
  }

  static async make(temper: Temper): Promise<ContainerSubject> {
    const containers = new TestEngine();
    const container = await containers.container({ command: ["sh", "-c", script(temper)] });
    const subject = new ContainerSubject(containers, container);
    subject.#parts.events.open();
    await subject.#parts.events.known;
    return subject;
  }

  async atWork(): Promise<void> {
    await eventually("the container works", async () => (await this.#container.output()).includes("at work"));
  }

  async crash(): Promise<void> {
    await this.#container.kill("SIGUSR2");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.events.close();
    this.#parts.engine.close();
    await this.#containers[Symbol.asyncDispose]();
  }
}

suite("on a real engine", { skip }, () => {
  checkLeaks();
  targetContract("a container", (temper) => ContainerSubject.make(temper));
});
