/** Containers that wakeports under test create: found by a label of their own, and removed at the end. */
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type Dockerode from "dockerode";
import type { TestEngine } from "./containers.ts";
import { engineTest, type Lab } from "./lab.ts";
import { isProxied } from "./narrow-proxy.ts";
import type { ServiceSpec, Upstream } from "./wakeport.ts";

const LABEL = "wakeport-test.made";

/** A test on a real engine of containers that are created in it. */
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
  /** Also the service's name: containers are called after it. */
  readonly name: string = `made-${randomBytes(4).toString("hex")}`;
  readonly #engine: TestEngine;

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  /** A service whose container is made of `settings`. @param rest besides the container */
  spec(settings: { readonly image: string; readonly [key: string]: unknown }, rest: object = {}): ServiceSpec {
    return { to: this, container: this.container(settings), ...rest };
  }

  /** With the labels by which it is found here, and by test/engine/up. */
  container<T extends object>(settings: T): T & { readonly labels: Readonly<Record<string, string>> } {
    return { ...settings, labels: { "wakeport-test": this.name, [LABEL]: this.name } };
  }

  /** What exists of it. */
  async all(): Promise<Dockerode.ContainerInfo[]> {
    return this.#engine.docker.listContainers({ all: true, filters: { label: [`${LABEL}=${this.name}`] } });
  }

  /** All that is known of the one that there is. */
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
