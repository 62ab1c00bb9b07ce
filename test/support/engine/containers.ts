/**
 * Containers of a real engine, for tests. Each carries the tests' own label and is removed at the end. What a test does
 * to them is noted, so that it can be told from what wakeport does.
 */
import { randomBytes } from "node:crypto";
import http from "node:http";
import Dockerode from "dockerode";
import { JsonLines } from "../../../src/docker/json-lines.ts";
import { eventually } from "../eventually.ts";

/** test/engine/up removes whatever carries it. The value is this process's own. */
const LABEL = "wakeport-test";
const MS_IN_NS = 1_000_000;
const run = `${process.pid}-${randomBytes(3).toString("hex")}`;

const images = {
  busybox: "wakeport-test/busybox:latest",
  node: "node:24-bookworm-slim",
  vsftpd: "wakeport-test/vsftpd:latest",
} as const;

export interface ContainerSpec {
  /** Default: busybox for `command`, node for `program`. The one of vsftpd is that of compose/ftp, and has to be built. */
  readonly image?: keyof typeof images;
  readonly command?: readonly string[];
  /** A program that Node runs as PID 1. */
  readonly program?: string;
  /** Default: a name that nobody else has. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly memoryBytes?: number;
  readonly network?: string;
  /** What else the engine takes for the container's host. */
  readonly host?: Dockerode.HostConfig;
  /** As `docker run --volume` has them. */
  readonly binds?: readonly string[];
  readonly tty?: boolean;
  /** Ports of 127.0.0.1 that lead to the same ports of the container, as `8080/tcp`. */
  readonly published?: readonly string[];
  /** As `docker run --rm`. */
  readonly autoRemove?: boolean;
  /** Default: "no". */
  readonly restart?: "no" | "unless-stopped" | "on-failure" | "always";
  /** Default: the engine's own. */
  readonly logDriver?: string;
  /** A shell command, asked every 200 ms, and how often in a row it must fail before that counts. */
  readonly healthcheck?: { readonly command: string; readonly retries: number };
}

export type Verb = "start" | "stop" | "restart" | "kill" | "pause" | "unpause" | "rename" | "remove";

/** Something the test did to a container. Times are Unix milliseconds, also below. */
export interface Act {
  readonly verb: Verb;
  readonly id: string;
  readonly from: number;
  readonly to: number;
}

/** Something the engine says happened to a container. */
export interface EngineEvent {
  readonly action: string;
  readonly id: string;
  readonly name: string;
  /** When it happened, by the engine's clock, and when it was heard of here. */
  readonly at: number;
  readonly heardAt: number;
}

/** Now, as finely as the clock of this process tells it. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** A real engine as a test sees it: makes containers, and keeps a journal of what happens to them. */
export class TestEngine implements AsyncDisposable {
  readonly acts: Act[] = [];
  readonly events: EngineEvent[] = [];
  /** Containers with a restart policy. */
  readonly selfStarting: Set<string> = new Set();
  readonly docker: Dockerode;
  readonly #containers: TestContainer[] = [];
  readonly #networks: Dockerode.Network[] = [];
  readonly #ended = new AbortController();
  #count = 0;

  /** @param socketPath default: the engine that test/engine/up brought */
  constructor(socketPath: string | undefined = undefined) {
    // No connection is kept open: it would look like one that wakeport leaked.
    const agent = new http.Agent({ keepAlive: false });
    // The type package does not know the option.
    const options = { agent, ...(socketPath !== undefined && { socketPath }) };
    this.docker = new Dockerode(options);
  }

  /** The label by which the journal knows this process's containers: for those that others make. */
  get label(): Readonly<Record<string, string>> {
    return { [LABEL]: run };
  }

  /** Begins the journal with what happens from now on. On Podman this resolves when something has happened. */
  async open(): Promise<void> {
    const lines = new JsonLines((value) => this.events.push(eventOf(value as RawEvent)));
    const filters = { type: ["container" as const], label: [`${LABEL}=${run}`] };
    const since = Date.now() / 1000;
    const stream = await this.docker.getEvents({ since, filters, abortSignal: this.#ended.signal });
    stream.on("data", (chunk: Buffer) => lines.push(chunk));
    stream.on("error", () => {});
  }

  /** Makes a container, stopped. */
  async container(spec: ContainerSpec): Promise<TestContainer> {
    this.#count += 1;
    const name = spec.name ?? `wakeport-test-${run}-${this.#count}`;
    const made = await this.docker.createContainer(createOptions(name, spec));
    const container = new TestContainer(this, made.id, name);
    this.#containers.push(container);
    if (spec.restart !== undefined && spec.restart !== "no") this.selfStarting.add(made.id);
    return container;
  }

  /** Makes a bridge network. @param settings besides its name and label, as the engine has them @returns its name */
  async network(settings: Omit<Dockerode.NetworkCreateOptions, "Name" | "Labels"> = {}): Promise<string> {
    this.#count += 1;
    const name = `wakeport-test-${run}-net-${this.#count}`;
    this.#networks.push(await this.docker.createNetwork({ ...settings, Name: name, Labels: { [LABEL]: run } }));
    return name;
  }

  /** Waits until everything that happened up to now is in the journal. */
  async catchUp(): Promise<void> {
    const marker = await this.container({ command: ["true"] });
    await eventually("the journal caught up", () => this.events.some(({ id }) => id === marker.id));
    await marker.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#containers.map((container) => container.remove()));
    await Promise.all(this.#networks.map((network) => network.remove()));
    this.#ended.abort();
  }
}

export class TestContainer {
  readonly id: string;
  readonly name: string;
  readonly #engine: TestEngine;
  #isRemoved = false;

  constructor(engine: TestEngine, id: string, name: string) {
    this.#engine = engine;
    this.id = id;
    this.name = name;
  }

  async start(): Promise<void> {
    await this.#act("start", (container) => container.start());
  }

  async stop(graceS = 10): Promise<void> {
    await this.#act("stop", (container) => container.stop({ t: graceS }));
  }

  async restart(graceS = 10): Promise<void> {
    await this.#act("restart", (container) => container.restart({ t: graceS }));
  }

  async kill(signal = "SIGKILL"): Promise<void> {
    await this.#act("kill", (container) => container.kill({ signal }));
  }

  async pause(): Promise<void> {
    await this.#act("pause", (container) => container.pause());
  }

  async unpause(): Promise<void> {
    await this.#act("unpause", (container) => container.unpause());
  }

  async rename(name: string): Promise<void> {
    await this.#act("rename", (container) => container.rename({ name }));
  }

  /** Idempotent. */
  async remove(): Promise<void> {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    await this.#act("remove", (container) => container.remove({ force: true, v: true })).catch((error) => {
      if (error.statusCode !== 404) throw error;
    });
  }

  /** Connects it to one more network. */
  async join(network: string): Promise<void> {
    await this.#engine.docker.getNetwork(network).connect({ Container: this.id });
  }

  /** Its address in the network of that name, while it runs. */
  async address(network: string): Promise<string> {
    const { NetworkSettings } = await this.#engine.docker.getContainer(this.id).inspect();
    return NetworkSettings.Networks[network]?.IPAddress ?? "";
  }

  /** What is true of it; undefined when it is gone. */
  async state(): Promise<Dockerode.ContainerInspectInfo["State"] | undefined> {
    const info = await this.#engine.docker
      .getContainer(this.id)
      .inspect()
      .catch((error) => {
        if (error.statusCode === 404) return undefined;
        throw error;
      });
    return info?.State;
  }

  /** What it printed in its present life and those before, between the engine's own marks. */
  async output(): Promise<string> {
    const container = this.#engine.docker.getContainer(this.id);
    return (await container.logs({ stdout: true, stderr: true, follow: false })).toString();
  }

  /** Whether it runs and is not paused. */
  async isAwake(): Promise<boolean> {
    const state = await this.state();
    return state?.Running === true && !state.Paused;
  }

  async #act(verb: Verb, act: (container: Dockerode.Container) => Promise<unknown>): Promise<void> {
    const from = now();
    await act(this.#engine.docker.getContainer(this.id)).finally(() => {
      this.#engine.acts.push({ verb, id: this.id, from, to: now() });
    });
  }
}

export interface EchoOptions {
  /** Default: all addresses. */
  readonly host?: string;
  /** Before it listens. */
  readonly delayMs?: number;
  /** At SIGTERM: end at once, end after closing the listener for a while, or go on. */
  readonly onTerm?: "exit" | "close" | "ignore";
  readonly port?: number;
}

/** A server that greets with a number of its own life, then echoes. */
export function echo({ delayMs = 0, onTerm = "exit", port = 7000, host }: EchoOptions = {}): string {
  const reactions = {
    exit: "process.exit(0)",
    close: "server.close(); setTimeout(() => process.exit(0), 200)",
    ignore: "",
  };
  return `
    const life = process.hrtime.bigint();
    const server = require("node:net").createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.write("220 " + life + "\\n");
      socket.pipe(socket);
    });
    setTimeout(() => server.listen(${JSON.stringify({ port, host })}), ${delayMs});
    process.on("SIGTERM", () => { ${reactions[onTerm]} });
  `;
}

export interface UdpEchoOptions {
  /** From the start of the program to the moment it takes datagrams. */
  readonly delayMs?: number;
  /** Port for datagrams; default: 7000. */
  readonly port?: number;
  /** Listens for connections on the same port too, and greets them. */
  readonly tcp?: boolean;
}

/** A program for Node that sends each datagram back, with a word that tells one life from another: `<life> <text>`. */
export function udpEcho({ delayMs = 0, port = 7000, tcp = false }: UdpEchoOptions = {}): string {
  return `
    const life = process.hrtime.bigint();
    const socket = require("node:dgram").createSocket("udp4");
    socket.on("message", (datagram, from) => socket.send(life + " " + datagram, from.port, from.address));
    setTimeout(() => socket.bind(${port}), ${delayMs});
    ${tcp ? `require("node:net").createServer((client) => client.end("220 " + life + "\\n")).listen(${port});` : ""}
    process.on("SIGTERM", () => process.exit(0));
  `;
}

function createOptions(name: string, spec: ContainerSpec): Dockerode.ContainerCreateOptions {
  const { program, command = [], labels, memoryBytes, network, binds = [], healthcheck, tty = false } = spec;
  const { logDriver, restart, published = [] } = spec;
  const image = spec.image ?? (program === undefined ? "busybox" : "node");
  return {
    name,
    Labels: { [LABEL]: run, ...labels },
    Image: images[image],
    Entrypoint: [],
    Tty: tty,
    ExposedPorts: Object.fromEntries(published.map((port) => [port, {}])),
    Cmd: program === undefined ? [...command] : ["node", "-e", program],
    ...(healthcheck !== undefined && {
      Healthcheck: {
        Test: ["CMD-SHELL", healthcheck.command],
        Retries: healthcheck.retries,
        Interval: 200 * MS_IN_NS,
        Timeout: 10_000 * MS_IN_NS,
      },
    }),
    HostConfig: {
      ...spec.host,
      ...(memoryBytes !== undefined && { Memory: memoryBytes, MemorySwap: memoryBytes }),
      ...(network !== undefined && { NetworkMode: network }),
      Binds: [...binds],
      AutoRemove: spec.autoRemove ?? false,
      PortBindings: Object.fromEntries(
        published.map((port) => [port, [{ HostIp: "127.0.0.1", HostPort: port.split("/")[0] ?? "" }]]),
      ),
      // As PID 1 it would not hear SIGTERM.
      ...(image === "vsftpd" && { Init: true }),
      ...(restart !== undefined && { RestartPolicy: { Name: restart } }),
      ...(logDriver !== undefined && { LogConfig: { Type: logDriver, Config: {} } }),
    },
  };
}

interface RawEvent {
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: { readonly name: string } };
  readonly timeNano: number;
}

function eventOf({ Action, Actor, timeNano }: RawEvent): EngineEvent {
  return { action: Action, id: Actor.ID, name: Actor.Attributes.name, at: timeNano / 1e6, heardAt: now() };
}
