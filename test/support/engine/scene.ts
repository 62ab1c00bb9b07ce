/** Ten services of every kind and five foreign containers on a real engine, with one wakeport or two. */
import { randomBytes } from "node:crypto";
import { freePort } from "../free-port.ts";
import { Program } from "../program/program.ts";
import { temporaryFile } from "../temporary-file.ts";
import type { ContainerSpec, TestContainer } from "./containers.ts";
import { engineEnv } from "./engine.ts";
import { Foreigners, REACHED } from "./foreign.ts";
import type { Lab } from "./lab.ts";
import { ComposedSubject, CreatedSubject, OwnSubject, type Subject } from "./subjects.ts";
import { Disturbances, namedServer, visit } from "./visits.ts";

const PORT = 7000;
const IMAGE = "wakeport-test/busybox";
/** A label of the containers that wakeport creates. */
const MADE = "wakeport-test.scene";
const POLICY = { idle_timeout: "800ms", start_timeout: "8s", stop_grace: "2s" };
const LADDER = [
  { after: "500ms", do: "pause" },
  { after: "2s", do: "stop" },
];
/** The number of characters of an id that the engine shows. */
const ID_PREFIX = 12;
const FIRST_VISIT_MS = 20_000;

type Labels = Readonly<Record<string, string>>;

/** A wakeport with its configuration, which the test stops or kills, and starts again. */
export class Instance implements AsyncDisposable {
  readonly ports: ReadonlyMap<string, number>;
  /** Its log, by event and reason. */
  readonly logged: Map<string, number> = new Map();
  readonly #file: { readonly path: string } & AsyncDisposable;
  #program: Program | undefined;
  #isUp = false;

  private constructor(file: { readonly path: string } & AsyncDisposable, ports: ReadonlyMap<string, number>) {
    this.#file = file;
    this.ports = ports;
  }

  static async create(services: ReadonlyMap<string, object>): Promise<Instance> {
    const ports = new Map<string, number>();
    for (const service of services.keys()) ports.set(service, await freePort());
    const settings = {
      admin: { listen: `127.0.0.1:${await freePort()}` },
      shutdown: { drain: "500ms" },
      defaults: POLICY,
      services: Object.fromEntries(
        [...services].map(([service, rest]) => [
          service,
          { ports: [`127.0.0.1:${ports.get(service)}:${PORT}`], ...rest },
        ]),
      ),
    };
    // JSON is YAML.
    return new Instance(await temporaryFile("wakeport.yaml", JSON.stringify(settings)), ports);
  }

  /** Returns true if its clients can connect. */
  get isUp(): boolean {
    return this.#isUp;
  }

  async start(): Promise<void> {
    this.#program = new Program(["run", "-c", this.#file.path], engineEnv());
    await this.#program.logged("started");
    this.#isUp = true;
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const program = this.#program;
    if (program === undefined) return;
    this.#isUp = false;
    program.child.kill(signal);
    const { code, stderr } = await program.finished();
    this.#program = undefined;
    this.#count(program);
    if (signal === "SIGTERM" && code !== 0) throw new Error(`wakeport ended with code ${code} on SIGTERM: ${stderr}`);
  }

  /** The last log lines about a service. */
  logOf(service: string): string {
    const lines = (this.#program?.log ?? []).map((line) => JSON.stringify(line));
    return lines
      .filter((line) => line.includes(service))
      .slice(-20)
      .join("\n");
  }

  #count({ log }: Program): void {
    for (const { event, outcome, error } of log) {
      const isClient = event === "connection.closed" && error !== undefined;
      const why = isClient ? `: ${withoutNames(String(error))}` : "";
      const key = [event, outcome].filter(Boolean).join(" ") + why;
      this.logged.set(key, (this.logged.get(key) ?? 0) + 1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
    await this.#file[Symbol.asyncDispose]();
  }
}

export class Scene implements AsyncDisposable {
  readonly lab: Lab;
  readonly foreigners: Foreigners;
  readonly disturbances: Disturbances = new Disturbances();
  readonly subjects: Subject[] = [];
  /** The labels of targets, by service. */
  readonly labels: Map<string, Labels> = new Map();
  /** The names of the services of a compose project whose containers the test creates. */
  readonly project: readonly string[] = ["web", "api", "app", "db"];
  readonly #id = randomBytes(3).toString("hex");
  readonly #name = `wakeport-test-scene-${this.#id}`;
  readonly #services = new Map<string, object>();
  readonly #stack = new AsyncDisposableStack();
  #network = "";
  #squatter: TestContainer | undefined;
  #dependent: TestContainer | undefined;
  #composed: ComposedSubject | undefined;
  #first: Instance | undefined;
  #second: Instance | undefined;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.foreigners = new Foreigners(lab.engine);
  }

  static async open(lab: Lab): Promise<Scene> {
    const scene = new Scene(lab);
    try {
      await scene.#open();
    } catch (error) {
      await scene[Symbol.asyncDispose]();
      throw error;
    }
    return scene;
  }

  /** The network of most containers. It has few addresses, so that they are reused soon. */
  get network(): string {
    return this.#network;
  }

  /** The foreign container that takes addresses of targets. */
  get squatter(): TestContainer {
    return there(this.#squatter);
  }

  /** The target that the program docker compose creates. */
  get composed(): ComposedSubject {
    return there(this.#composed);
  }

  get first(): Instance {
    return there(this.#first);
  }

  /** Another wakeport with the same targets. */
  get second(): Instance {
    return there(this.#second);
  }

  /** The ports of services, and the name that must reply there. */
  get listeners(): readonly { readonly service: string; readonly port: number; readonly name: string }[] {
    const instances = this.second.isUp ? [this.first, this.second] : [this.first];
    return instances.flatMap(({ ports }) => [...ports].map(([service, port]) => ({ service, port, name: service })));
  }

  /** Creates another foreign container with the labels of a target. */
  async copyOf(labels: Labels): Promise<TestContainer> {
    return this.#foreign("copy", { labels });
  }

  // The end

  /** Restores the scene: one wakeport, and all targets with their own names. */
  async calm(): Promise<void> {
    await this.second.end("SIGTERM");
    // A second wakeport that was killed may have left its own container of that name.
    const left = this.lab.engine.docker.getContainer(`wakeport-new-${this.#id}`);
    await left.remove({ force: true, v: true }).catch(() => {});
    for (const subject of this.subjects) {
      await subject.restore(false);
      await (await subject.find())?.unpause().catch(() => {});
    }
  }

  /** Removes the foreign container that keeps a target awake. */
  async removeDependent(): Promise<void> {
    this.foreigners.noLongerNeed(`${this.#name}-web-1`);
    await this.foreigners.remove(there(this.#dependent));
  }

  /** The services with an awake target. */
  async awake(): Promise<readonly string[]> {
    const awake: string[] = [];
    for (const subject of this.subjects) {
      const isService = this.#services.has(subject.service);
      if (isService && (await (await subject.find())?.isAwake())) awake.push(subject.service);
    }
    return awake;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  // The beginning

  async #open(): Promise<void> {
    const { engine } = this.lab;
    const base = `10.${200 + Math.floor(Math.random() * 50)}.${Math.floor(Math.random() * 250)}`;
    const IPAM = { Driver: "default", Config: [{ Subnet: `${base}.0/27` }] };
    this.#network = await engine.network({ IPAM });
    const other = await engine.network();
    this.#stack.defer(() => this.#removeMade());

    const bystander = await this.#foreign("1", { network: "bridge" });
    this.#dependent = await this.#foreign("2", { labels: this.#composeLabels("worker", "web:service_started:false") });
    this.#squatter = await this.#foreign("3", { network: other });
    const neighbour = await this.#foreign("4", { name: `${this.#name}-alpha-1` });
    for (const one of [bystander, this.#dependent, this.#squatter, neighbour]) await one.start();

    this.#addNamed("alpha", `${this.#name}-alpha`);
    this.#addNamed("ladder", `${this.#name}-ladder`, { sleep: LADDER });
    this.#addNamed("far", `${this.#name}-far`, { sleep: "kill" }, other);
    // The engine accepts the beginning of an id as a name.
    this.#addNamed("prefix", bystander.id.slice(0, ID_PREFIX));
    this.#addOfProject("web", "", ["api"]);
    this.foreigners.need(`${this.#name}-web-1`);
    this.#addOfProject("api", "web:service_started:false");
    this.#addOfProject("app", "db:service_started:false");
    this.#addOfProject("db", "", ["app"]);
    this.#services.delete("db");
    this.#addCreated(`made-${this.#id}`, {});
    this.#addCreated(`new-${this.#id}`, { remove: true });
    this.#composed = this.#stack.use(
      await ComposedSubject.open(this.lab, "composed", namedServer("composed", PORT), `${this.#name}-composed`),
    );
    this.subjects.push(this.#composed);
    this.#services.set("composed", { container: { service: "composed", project: this.#composed.project } });
    await Promise.all(this.subjects.map((subject) => subject.restore(false)));

    this.#first = this.#stack.use(await Instance.create(this.#services));
    // Only one wakeport can create a container of that name.
    const shared = [...this.#services].filter(([service]) => service !== `made-${this.#id}`);
    this.#second = this.#stack.use(await Instance.create(new Map(shared)));
    await this.#first.start();
    await (await this.#foreign("5", { labels: await this.#madeLabels(`made-${this.#id}`) })).start();
  }

  async #foreign(name: string, spec: Partial<ContainerSpec>): Promise<TestContainer> {
    const command = namedServer(`foreign ${name}`, PORT, `echo ${REACHED} >&2; `);
    return this.foreigners.add(await this.lab.container({ command, network: this.#network, ...spec }));
  }

  #addNamed(service: string, name: string, policy: object = {}, network: string = this.#network): void {
    this.subjects.push(new OwnSubject(this.lab, service, { name, command: namedServer(service, PORT), network }));
    this.#services.set(service, { container: name, ...policy });
  }

  #addOfProject(service: string, dependsOn: string, dependents: readonly string[] = []): void {
    const labels = this.#composeLabels(service, dependsOn);
    const spec = { name: `${this.#name}-${service}-1`, command: namedServer(service, PORT), labels };
    this.subjects.push(new OwnSubject(this.lab, service, { ...spec, network: this.#network }, dependents));
    this.labels.set(service, labels);
    this.#services.set(service, { container: { service, project: this.#name } });
  }

  #addCreated(service: string, rest: object): void {
    const labels = { ...this.lab.engine.label, [MADE]: this.#id };
    const container = { image: IMAGE, command: namedServer(service, PORT), networks: [this.#network], labels };
    this.subjects.push(new CreatedSubject(this.lab, service));
    this.#services.set(service, { container: { ...container, ...rest } });
  }

  #composeLabels(service: string, dependsOn: string): Labels {
    return {
      "com.docker.compose.project": this.#name,
      "com.docker.compose.service": service,
      "com.docker.compose.container-number": "1",
      "com.docker.compose.oneoff": "False",
      ...(dependsOn !== "" && { "com.docker.compose.depends_on": dependsOn }),
    };
  }

  /** The labels of the container that wakeport creates for a service. */
  async #madeLabels(service: string): Promise<Labels> {
    const port = there(this.first.ports.get(service));
    await visit({ service, port, name: service, stayMs: 0, limitMs: FIRST_VISIT_MS });
    const { id } = there(await this.subjects.find((one) => one.service === service)?.find());
    const { Config } = await this.lab.engine.docker.getContainer(id).inspect();
    this.labels.set(service, Config.Labels);
    return Config.Labels;
  }

  async #removeMade(): Promise<void> {
    const { docker } = this.lab.engine;
    const filters = { label: [`${MADE}=${this.#id}`] };
    for (const { Id } of await docker.listContainers({ all: true, filters })) {
      // Copies have the label too, and may have been removed.
      await docker
        .getContainer(Id)
        .remove({ force: true, v: true })
        .catch(() => {});
    }
  }
}

function there<T>(one: T | undefined): T {
  if (one === undefined) throw new Error("the scene is not open");
  return one;
}

/** An error without the parts that differ between runs. */
function withoutNames(error: string): string {
  return error.replace(/[0-9a-f]{6,}/g, "ID").replace(/\d+/g, "N");
}
