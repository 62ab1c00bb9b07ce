/** A place to test wakeport on a real engine: containers, wakeports in this process, and the checks after each test. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openSockets, violations } from "../activation/invariants.ts";
import { eventually } from "../eventually.ts";
import { type ContainerSpec, type TestContainer, TestEngine } from "./containers.ts";
import { engineVersion } from "./engine.ts";
import { type ServiceSpec, Wakeport, type WakeportOptions } from "./wakeport.ts";

const version = await engineVersion();
/** Why there is no engine here; false when there is one. */
export const skip: string | false =
  version === undefined && "NO DOCKER ENGINE: as root on Debian, test/engine/up brings one";

export interface LabOptions {
  /** Whether the journal of the test's containers is held against what wakeport says: not of those that it creates. */
  readonly isJournalled?: boolean;
}

/** A test on a real engine. What must hold always is checked after it; what it made is removed. */
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

/** How often the engine started a container, whoever asked for it. */
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

  /** @param socketPath of an engine other than the default one */
  static async open(socketPath: string | undefined = undefined): Promise<Lab> {
    const engine = new TestEngine(socketPath);
    const opened = engine.open();
    // Nobody names it, so nobody may touch it.
    const bystander = await engine.container({ command: ["sleep", "3600"] });
    await Promise.all([opened, bystander.start()]);
    return new Lab(engine, bystander);
  }

  container(spec: ContainerSpec): Promise<TestContainer> {
    return this.engine.container(spec);
  }

  /** Opens a wakeport with these services, and waits until it follows the engine. */
  async wakeport(services: Readonly<Record<string, ServiceSpec>>, options: WakeportOptions = {}): Promise<Wakeport> {
    const wakeport = await Wakeport.open(services, options);
    this.#wakeports.push(wakeport);
    if (options.docker?.host === undefined) await eventually("the engine answers", () => wakeport.isEngineUp);
    return wakeport;
  }

  /** Closes all wakeports and checks what must hold, whatever the test was about. */
  async check({ isJournalled = true }: LabOptions = {}): Promise<void> {
    for (const wakeport of this.#wakeports) await wakeport.settle();
    for (const wakeport of this.#wakeports) await wakeport.close();
    await this.engine.catchUp();
    const found = this.#wakeports.flatMap(({ evidence }) =>
      violations(isJournalled ? { ...evidence, journal: this.engine } : evidence),
    );
    assert.deepEqual(found, []);
    assert.ok(await this.#bystander.isAwake(), "I8: somebody stopped a container that is no target");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const wakeport of this.#wakeports) await wakeport.close();
    await this.engine[Symbol.asyncDispose]();
  }
}
