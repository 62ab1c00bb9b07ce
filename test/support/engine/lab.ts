/** Tests of wakeport on a real engine: containers, wakeports in this process, and checks after each test. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openSockets, violations } from "../activation/invariants.ts";
import { eventually } from "../eventually.ts";
import { type ContainerSpec, type TestContainer, TestEngine } from "./containers.ts";
import { engineVersion } from "./engine.ts";
import { type ServiceSpec, Wakeport, type WakeportOptions } from "./wakeport.ts";

const version = await engineVersion();
/** The reason that there is no engine; false if there is one. */
export const skip: string | false =
  version === undefined && "NO DOCKER ENGINE: as root on Debian, test/engine/up brings one";

export interface LabOptions {
  /** Whether the journal is compared with wakeport's reports; not for containers that wakeport creates. */
  readonly isJournalled?: boolean;
}

/** A test on a real engine. Afterwards the invariants are checked, and its containers removed. */
export function engineTest(
  name: string,
  body: (lab: Lab, t: TestContext) => Promise<void>,
  options: LabOptions = {},
): void {
  test(name, { skip }, async (t) => {
    const before = openSockets();
    {
      await using lab = await Lab.open();
      await body(lab, t);
      await lab.check(options);
    }
    await eventually("I5: no socket is left open", () => openSockets() <= before);
  });
}

/** The number of starts of a container, by any program. */
export async function startsOf(lab: Lab, { id }: TestContainer): Promise<number> {
  await lab.engine.catchUp();
  return lab.engine.events.filter((event) => event.id === id && event.action === "start").length;
}

export class Lab implements AsyncDisposable {
  readonly engine: TestEngine;
  readonly #wakeports: Wakeport[] = [];
  readonly #bystander: TestContainer;

  private constructor(engine: TestEngine, bystander: TestContainer) {
    this.engine = engine;
    this.#bystander = bystander;
  }

  /** @param socketPath default: the default engine */
  static async open(socketPath: string | undefined = undefined): Promise<Lab> {
    const engine = new TestEngine(socketPath);
    const opened = engine.open();
    // No configuration contains it, so it must not be touched.
    const bystander = await engine.container({ command: ["sleep", "3600"] });
    await Promise.all([opened, bystander.start()]);
    return new Lab(engine, bystander);
  }

  container(spec: ContainerSpec): Promise<TestContainer> {
    return this.engine.container(spec);
  }

  /** Opens a wakeport with these services, and waits until it has subscribed to events. */
  async wakeport(services: Readonly<Record<string, ServiceSpec>>, options: WakeportOptions = {}): Promise<Wakeport> {
    const wakeport = await Wakeport.open(services, options);
    this.#wakeports.push(wakeport);
    if (options.docker?.host === undefined) await eventually("the engine responds", () => wakeport.isEngineUp);
    return wakeport;
  }

  /** Closes all wakeports and checks the invariants. */
  async check({ isJournalled = true }: LabOptions = {}): Promise<void> {
    for (const wakeport of this.#wakeports) await wakeport.settle();
    for (const wakeport of this.#wakeports) await wakeport.close();
    await this.engine.catchUp();
    const found = this.#wakeports.flatMap(({ evidence }) =>
      violations(isJournalled ? { ...evidence, journal: this.engine } : evidence),
    );
    assert.deepEqual(found, []);
    assert.ok(await this.#bystander.isAwake(), "I8: a container that is not a target was stopped");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const wakeport of this.#wakeports) await wakeport.close();
    await this.engine[Symbol.asyncDispose]();
  }
}
