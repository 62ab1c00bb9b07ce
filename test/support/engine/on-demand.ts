/** Containers that wakeports under test create: found by a unique label, and removed at the end. */
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type Dockerode from "dockerode";
import type { TestEngine } from "./containers.ts";
import { engineTest, type Lab } from "./lab.ts";
import { isProxied } from "./narrow-proxy.ts";
import type { ServiceSpec, Upstream } from "./wakeport.ts";

const LABEL = "wakeport-test.made";

/** A test on a real engine of containers that wakeport creates. */
export function madeTest(name: string, body: (lab: Lab, made: Made) => Promise<void>): void {
  const withOne = async (lab: Lab): Promise<void> => {
    await using made = new Made(lab.engine);
    await body(lab, made);
  };
  const skip = isProxied && "a narrow socket proxy lets no containers be created";
  if (skip) return void test(name, { skip }, () => {});
  engineTest(name, withOne, { isJournalled: false });
}

export class Made implements Upstream, AsyncDisposable {
  readonly id = "";
  /** The name of the service and of its container. */
  readonly name: string = `made-${randomBytes(4).toString("hex")}`;
  readonly #engine: TestEngine;

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  /** A service whose container is created with `settings`. @param rest further keys of the service */
  spec(settings: { readonly image: string; readonly [key: string]: unknown }, rest: object = {}): ServiceSpec {
    return { to: this, container: this.container(settings), ...rest };
  }

  /** The labels by which this test and test/engine/up find it. */
  container<T extends object>(settings: T): T & { readonly labels: Readonly<Record<string, string>> } {
    return { ...settings, labels: { "wakeport-test": this.name, [LABEL]: this.name } };
  }

  /** Its existing containers. */
  async all(): Promise<Dockerode.ContainerInfo[]> {
    return this.#engine.docker.listContainers({ all: true, filters: { label: [`${LABEL}=${this.name}`] } });
  }

  /** The inspection of its container. */
  async inspect(): Promise<Dockerode.ContainerInspectInfo> {
    const [one] = await this.all();
    if (one === undefined) throw new Error(`there is no container of ${this.name}`);
    return this.#engine.docker.getContainer(one.Id).inspect();
  }

  async isAwake(): Promise<boolean> {
    return (await this.all()).some(({ State }) => State === "running");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { Id } of await this.all()) {
      await this.#engine.docker.getContainer(Id).remove({ force: true, v: true });
    }
  }
}
