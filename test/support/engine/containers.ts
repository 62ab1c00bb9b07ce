/**
 * Containers of a real engine, for tests. Each has the tests' label and is removed at the end. The actions of the test
 * are recorded, to distinguish them from those of wakeport.
 */
import { randomBytes } from "node:crypto";
import http from "node:http";
import Dockerode from "dockerode";
import { JsonLines } from "../../../src/docker/json-lines.ts";
import { eventually } from "../eventually.ts";

/** test/engine/up removes containers with this label. The value is unique to this process. */
const LABEL = "wakeport-test";
const MS_IN_NS = 1_000_000;
const run = `${process.pid}-${randomBytes(3).toString("hex")}`;

const images = {
  busybox: "wakeport-test/busybox:latest",
  node: "node:24-bookworm-slim",
  vsftpd: "wakeport-test/vsftpd:latest",
} as const;

export interface ContainerSpec {
  /** Default: busybox for `command`, node for `program`. The image vsftpd is built from compose/ftp. */
  readonly image?: keyof typeof images;
  readonly command?: readonly string[];
  /** A program that Node runs as PID 1. */
  readonly program?: string;
  /** Default: a unique name. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly memoryBytes?: number;
  readonly network?: string;
  /** Further fields of HostConfig. */
  readonly host?: Dockerode.HostConfig;
  /** In the syntax of `docker run --volume`. */
  readonly binds?: readonly string[];
  readonly tty?: boolean;
  /** Ports published on the same ports of 127.0.0.1, such as `8080/tcp`. */
  readonly published?: readonly string[];
  /** Like `docker run --rm`. */
  readonly autoRemove?: boolean;
  /** Default: "no". */
  readonly restart?: "no" | "unless-stopped" | "on-failure" | "always";
  /** Default: the engine's default. */
  readonly logDriver?: string;
  /** A shell command, run every 200 ms, and the number of consecutive failures that make the container unhealthy. */
  readonly healthcheck?: { readonly command: string; readonly retries: number };
}

export type Verb = "start" | "stop" | "restart" | "kill" | "pause" | "unpause" | "rename" | "remove";

/** An action of the test on a container. Times are Unix milliseconds, also below. */
export interface Act {
  readonly verb: Verb;
  readonly id: string;
  readonly from: number;
  readonly to: number;
}

/** An event of the engine. */
export interface EngineEvent {
  readonly action: string;
  readonly id: string;
  readonly name: string;
  /** The time by the engine's clock, and the time of receipt. */
  readonly at: number;
  readonly heardAt: number;
}

/** The current time, with fractions of a millisecond. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** A real engine for a test: creates containers, and keeps a journal of their events. */
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

  /** @param socketPath default: the engine of test/engine/up */
  constructor(socketPath: string | undefined = undefined) {
    // A connection that is kept open would look like a leak of wakeport.
    const agent = new http.Agent({ keepAlive: false });
    // The types do not contain this option.
    const options = { agent, ...(socketPath !== undefined && { socketPath }) };
    this.docker = new Dockerode(options);
  }

  /** The label of the containers in the journal, for containers that the test does not create itself. */
  get label(): Readonly<Record<string, string>> {
    return { [LABEL]: run };
  }

  /** Starts the journal. With Podman, it resolves after the first event. */
  async open(): Promise<void> {
    const lines = new JsonLines((value) => this.events.push(eventOf(value as RawEvent)));
    const filters = { type: ["container" as const], label: [`${LABEL}=${run}`] };
    const since = Date.now() / 1000;
    const stream = await this.docker.getEvents({ since, filters, abortSignal: this.#ended.signal });
    stream.on("data", (chunk: Buffer) => lines.push(chunk));
    stream.on("error", () => {});
  }

  /** Creates a container without starting it. */
  async container(spec: ContainerSpec): Promise<TestContainer> {
    this.#count += 1;
    const name = spec.name ?? `wakeport-test-${run}-${this.#count}`;
    const made = await this.docker.createContainer(createOptions(name, spec));
    const container = new TestContainer(this, made.id, name);
    this.#containers.push(container);
    if (spec.restart !== undefined && spec.restart !== "no") this.selfStarting.add(made.id);
    return container;
  }

  /** Creates a bridge network. @param settings further fields of the engine's request @returns its name */
  async network(settings: Omit<Dockerode.NetworkCreateOptions, "Name" | "Labels"> = {}): Promise<string> {
    this.#count += 1;
    const name = `wakeport-test-${run}-net-${this.#count}`;
    this.#networks.push(await this.docker.createNetwork({ ...settings, Name: name, Labels: { [LABEL]: run } }));
    return name;
  }

  /** Waits until all events up to now are in the journal. */
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

  /** Connects it to another network. */
  async join(network: string): Promise<void> {
    await this.#engine.docker.getNetwork(network).connect({ Container: this.id });
  }

  /** Its address in a network, while it runs. */
  async address(network: string): Promise<string> {
    const { NetworkSettings } = await this.#engine.docker.getContainer(this.id).inspect();
    return NetworkSettings.Networks[network]?.IPAddress ?? "";
  }

  /** Returns undefined if the container is gone, otherwise its state in the engine. */
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

  /** Its output in all runs, with the engine's frame headers. */
  async output(): Promise<string> {
    const container = this.#engine.docker.getContainer(this.id);
    return (await container.logs({ stdout: true, stderr: true, follow: false })).toString();
  }

  /** Returns true if it runs and is not paused. */
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
  /** The delay before it listens. */
  readonly delayMs?: number;
  /** On SIGTERM: exit at once, exit some time after closing the listener, or continue. */
  readonly onTerm?: "exit" | "close" | "ignore";
  readonly port?: number;
}

/** A server that sends the number of its run as a greeting, then echoes. */
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
  /** The delay before it receives datagrams. */
  readonly delayMs?: number;
  /** The UDP port; default: 7000. */
  readonly port?: number;
  /** Also listens for TCP connections on the same port, and sends a greeting. */
  readonly tcp?: boolean;
}

/** A program for Node that echoes each datagram with an identifier of its run: `<run> <text>`. */
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
      // PID 1 ignores SIGTERM without a handler.
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
