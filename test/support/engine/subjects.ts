/** The targets of a random test, with the actions of other programs and their repair. */

import { temporaryFile } from "../temporary-file.ts";
import { run } from "./compose.ts";
import { type ContainerSpec, TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";

/** In seconds. */
const GRACE_S = 1;

/** A target, created by the test, by compose or by wakeport. */
export interface Subject {
  readonly service: string;
  /** The services that are disturbed with this one. */
  readonly disturbs: readonly string[];
  /** Returns undefined if there is no container, otherwise the current one. */
  find(): Promise<TestContainer | undefined>;
  /** Creates a missing container, undoes a rename, and starts the container if requested. */
  restore(isStarted: boolean): Promise<void>;
  /** Replaces its container like compose does. */
  recreate(isStarted: boolean): Promise<void>;
  /** Renames it, or undoes the renaming. */
  rename(): Promise<void>;
}

/** A container that the test creates, found by name or by compose labels. */
export class OwnSubject implements Subject {
  readonly service: string;
  readonly disturbs: readonly string[];
  readonly #lab: Lab;
  readonly #spec: ContainerSpec & { readonly name: string };
  #container: TestContainer | undefined;
  #isAway = false;

  constructor(
    lab: Lab,
    service: string,
    spec: ContainerSpec & { readonly name: string },
    disturbs: readonly string[] = [],
  ) {
    this.#lab = lab;
    this.service = service;
    this.#spec = spec;
    this.disturbs = [service, ...disturbs];
  }

  async find(): Promise<TestContainer | undefined> {
    // Another process may have pruned it.
    if ((await this.#container?.state()) === undefined) this.#container = undefined;
    return this.#container;
  }

  async restore(isStarted: boolean): Promise<void> {
    const found = await this.find();
    if (found === undefined) return this.#create(isStarted);
    if (this.#isAway) await this.rename();
  }

  async recreate(isStarted: boolean): Promise<void> {
    const old = await this.find();
    if (old === undefined) return this.#create(isStarted);
    await old.stop(GRACE_S).catch(() => {});
    await old.rename(`${old.id.slice(0, 12)}_${this.#spec.name}`);
    await this.#create(isStarted);
    await old.remove();
  }

  async rename(): Promise<void> {
    const { name } = this.#spec;
    await this.#container?.rename(this.#isAway ? name : `${name}-away`);
    this.#isAway = !this.#isAway;
  }

  async #create(isStarted: boolean): Promise<void> {
    const made = await this.#lab.container(this.#spec);
    this.#container = made;
    this.#isAway = false;
    // A client may have started it.
    if (isStarted) await made.start().catch(() => {});
  }
}

/** A container that wakeport creates. */
export class CreatedSubject implements Subject {
  readonly service: string;
  readonly disturbs: readonly string[];
  readonly #lab: Lab;

  constructor(lab: Lab, service: string) {
    this.#lab = lab;
    this.service = service;
    this.disturbs = [service];
  }

  async find(): Promise<TestContainer | undefined> {
    const name = `wakeport-${this.service}`;
    const all = await this.#lab.engine.docker.listContainers({ all: true, filters: { name: [`^/${name}$`] } });
    const [one] = all;
    return one && new TestContainer(this.#lab.engine, one.Id, name);
  }

  async restore(): Promise<void> {}

  async recreate(): Promise<void> {
    await (await this.find())?.remove();
  }

  /** A renamed container is not the container that wakeport created. */
  async rename(): Promise<void> {
    const found = await this.find();
    if (found === undefined) return;
    await found.rename(`${found.name}-${found.id.slice(0, 6)}`);
    await found.remove();
  }
}

/** A service of a compose project that docker compose creates. */
export class ComposedSubject implements Subject, AsyncDisposable {
  readonly service: string;
  readonly disturbs: readonly string[];
  readonly project: string;
  readonly #lab: Lab;
  readonly #file: AsyncDisposable & { readonly path: string };

  private constructor(lab: Lab, service: string, project: string, file: AsyncDisposable & { readonly path: string }) {
    this.#lab = lab;
    this.service = service;
    this.disturbs = [service];
    this.#file = file;
    this.project = project;
  }

  static async open(lab: Lab, service: string, command: readonly string[], project: string): Promise<ComposedSubject> {
    const { label: labels } = lab.engine;
    const services = {
      [service]: {
        image: "wakeport-test/busybox:latest",
        pull_policy: "never",
        // In a compose file a dollar sign begins a variable.
        command: command.map((word) => word.replaceAll("$", "$$$$")),
        labels,
        stop_grace_period: `${GRACE_S}s`,
      },
    };
    const text = JSON.stringify({ services, networks: { default: { labels } } });
    return new ComposedSubject(lab, service, project, await temporaryFile("compose.yaml", text));
  }

  async compose(...args: string[]): Promise<void> {
    await run("docker", ["compose", "-p", this.project, "-f", this.#file.path, ...args]);
  }

  async find(): Promise<TestContainer | undefined> {
    const label = [`com.docker.compose.project=${this.project}`];
    const [one] = await this.#lab.engine.docker.listContainers({ all: true, filters: { label } });
    return one && new TestContainer(this.#lab.engine, one.Id, (one.Names[0] ?? "").slice(1));
  }

  async restore(isStarted: boolean): Promise<void> {
    await this.compose("up", ...(isStarted ? ["-d"] : ["--no-start"]));
  }

  async recreate(isStarted: boolean): Promise<void> {
    await this.compose("up", "--force-recreate", ...(isStarted ? ["-d"] : ["--no-start"]));
  }

  async rename(): Promise<void> {
    const found = await this.find();
    // Compose finds containers by label under any name.
    if (found !== undefined) await found.rename(`${this.project}-renamed-${found.id.slice(0, 6)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.compose("down", "--timeout", "1");
    await this.#file[Symbol.asyncDispose]();
  }
}
