/** The targets of a random test: what is done to each by others than wakeport, and how it is put in order again. */

import { temporaryFile } from "../program/program.ts";
import { run } from "./compose.ts";
import { type ContainerSpec, TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";

/** In seconds. */
const GRACE_S = 1;

/** A target, whoever creates its container. */
export interface Subject {
  readonly service: string;
  /** The services that are disturbed when this one is. */
  readonly disturbs: readonly string[];
  /** Its container as it is now; undefined when there is none. */
  find(): Promise<TestContainer | undefined>;
  /** Creates its container where it has none, and undoes a change of name; started where that is said. */
  restore(isStarted: boolean): Promise<void>;
  /** Replaces its container with another one as compose does, or as far as it is up to others. */
  recreate(isStarted: boolean): Promise<void>;
  /** Changes its name, or changes it back. */
  rename(): Promise<void>;
}

/** A container that the test creates: found by name, or by the labels of a compose project. */
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
    // Others may have pruned it.
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
    // A client may have woken it.
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

  /** Under another name it is not the container that wakeport created. */
  async rename(): Promise<void> {
    const found = await this.find();
    if (found === undefined) return;
    await found.rename(`${found.name}-${found.id.slice(0, 6)}`);
    await found.remove();
  }
}

/** A service of a compose project that the program docker compose creates. */
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
        // Compose would read a dollar sign as the start of a variable.
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
    // Compose finds it by its labels, under any name.
    if (found !== undefined) await found.rename(`${this.project}-renamed-${found.id.slice(0, 6)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.compose("down", "--timeout", "1");
    await this.#file[Symbol.asyncDispose]();
  }
}
