/** A wakeport in this process, with all its reports. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { text } from "node:stream/consumers";
import type { ActivationReport } from "../../../src/activation/reports.ts";
import type { ServiceStatus, StatusReport } from "../../../src/admin/api.ts";
import type { Config } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { Daemon } from "../../../src/daemon/daemon.ts";
import { contradiction, type Evidence, Recorder, type Timed } from "../activation/invariants.ts";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";
import { Peer } from "../net/tcp.ts";
import { UdpClient } from "../net/udp.ts";
import { engineEnv } from "./engine.ts";
import { engineHost } from "./narrow-proxy.ts";

/** The port on which the programs of these tests listen. */
export const PORT = 7000;

/** The upstream of a service: a container or a fake. */
export interface Upstream {
  readonly id: string;
  readonly name: string;
  /** Whether it runs and is not paused. */
  isAwake(): Promise<boolean>;
}

/** A service of wakeport.yaml, without its ports. */
export interface ServiceSpec {
  /** Its target. */
  readonly to: Upstream;
  /** The target's port; default: PORT. */
  readonly port?: number;
  /** The protocol of its listener; default: TCP. */
  readonly listenPort?: "tcp" | "udp" | "both";
  /** Default: the container's name. */
  readonly container?:
    | string
    | { readonly service: string; readonly project?: string }
    | { readonly image: string; readonly [setting: string]: unknown };
  readonly [setting: string]: unknown;
}

export interface WakeportOptions {
  readonly docker?: { readonly host?: string; readonly project?: string; readonly discover?: boolean | "all" };
  readonly env?: Readonly<Record<string, string>>;
  readonly defaults?: Readonly<Record<string, unknown>>;

  /** The path of its configuration, which identifies containers that it created; default: a unique path. */
  readonly source?: string;
  readonly shutdown?: { readonly targets?: "stop" | "leave"; readonly drain?: string };
}

export class Wakeport implements AsyncDisposable {
  readonly record: Recorder;
  readonly #sidecar: Daemon;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #services: Map<string, ServiceSpec>;
  readonly #written: (options: WakeportOptions) => Config;
  /** The containers that it may start and stop, by id. */
  readonly #targets = new Map<string, string>();
  #clients = 0;
  #counted: ReadonlyMap<string, number> = new Map();
  #isClosed = false;

  private constructor(parts: {
    record: Recorder;
    daemon: Daemon;
    ports: ReadonlyMap<string, number>;
    services: Readonly<Record<string, ServiceSpec>>;
    written: (options: WakeportOptions) => Config;
  }) {
    this.record = parts.record;
    this.#sidecar = parts.daemon;
    this.#ports = parts.ports;
    this.#written = parts.written;
    this.#services = new Map(Object.entries(parts.services));
    // A service may name another container than `to`. Then a service that names no other one decides.
    const services = [...this.#services.values()].toSorted(
      (a, b) => Number(b.container !== undefined) - Number(a.container !== undefined),
    );
    for (const spec of services) this.#targets.set(spec.to.id, nameOf(spec));
  }

  static async open(services: Readonly<Record<string, ServiceSpec>>, options: WakeportOptions): Promise<Wakeport> {
    const record = new Recorder();
    const ports = new Map<string, number>();
    for (const name of Object.keys(services)) ports.set(name, await freePort());
    const host = options.docker?.host ?? (await engineHost());
    const docker = { ...options.docker, ...(host !== undefined && { host }) };
    const source = `test-${randomUUID()}.yaml`;
    const written = (own: WakeportOptions): Config => configOf(services, ports, { source, ...options, ...own, docker });
    const daemon = new Daemon({
      config: written({}),
      observer: record.observer,
      build: { version: "test", revision: "test", nodeVersion: process.version },
      env: { ...engineEnv(), ...options.env },
      uid: 0,
      gid: 0,
      ownFiles: 32,
      inheritedFds: [],
      openFiles: 20_000,
    });
    await daemon.open();
    return new Wakeport({ record, daemon, ports, services, written });
  }

  /** Reloads the configuration with these changes. */
  async reload(changed: Pick<WakeportOptions, "defaults">): Promise<void> {
    assert.ok(await this.#sidecar.reload(async () => this.#written(changed)), "the configuration was rejected");
  }

  get isEngineUp(): boolean {
    return this.#sidecar.status.engine?.up === true;
  }

  /** Replaces the expected container of a service. */
  mayUse(service: string, container: Upstream): void {
    const spec = this.#services.get(service);
    assert.ok(spec, `there is no service ${service}`);
    this.#services.set(service, { ...spec, to: container });
    this.#targets.set(container.id, nameOf(spec));
  }

  /** A container that services of this wakeport depend on. */
  mayWake(container: Upstream, targetName: string): void {
    this.#targets.set(container.id, targetName);
  }

  /** Removes the expected container of a service. */
  mayNotUse(service: string): void {
    this.#services.delete(service);
  }

  /** Connects a client. The connection may be reset at once. */
  async connect(service: string): Promise<Peer> {
    const socket = net.connect({ port: this.#port(service), host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const peer = new Peer(socket);
    await eventually("connected", () => !socket.connecting);
    assert.notEqual(peer.fate, "ECONNREFUSED", "I6: a listener refuses a connection");
    this.#clients += 1;
    return peer;
  }

  /** Opens a UDP client. Each of its flows counts as a client. */
  async sender(service: string, flows = 1): Promise<UdpClient> {
    this.#clients += flows;
    return UdpClient.open(this.#port(service));
  }

  /** Connects, waits for the greeting of an echo server and for one echo. @returns the greeting */
  async greeted(service: string): Promise<string> {
    using peer = await this.connect(service);
    peer.send("word\n");
    await eventually("an echo", () => peer.text.endsWith("word\n") || peer.fate !== "open");
    const why = this.record.activations.map(({ error }) => error?.message).join("; ");
    assert.match(peer.text, /^220 \d+\nword\n$/, `instead of an echo: ${peer.fate} (${why})`);
    return peer.text.slice(0, -"word\n".length);
  }

  state(service: string): ServiceStatus["state"] {
    const found = this.#sidecar.status.services.find(({ name }) => name === service);
    assert.ok(found, `there is no service ${service}`);
    return found.state;
  }

  async until(service: string, state: ServiceStatus["state"]): Promise<void> {
    await eventually(`${service} is ${state}`, () => this.state(service) === state);
  }

  /** Waits for the first reported activation. */
  async activation(): Promise<Timed<ActivationReport>> {
    await eventually("an activation is reported", () => this.record.activations.length > 0);
    return this.record.activations[0]!;
  }

  /** From ready to the beginning of the first sleep, in milliseconds. */
  get idleMs(): number {
    const [ready, stopping] = ["ready", "stopping"].map((to) => this.record.states.find((one) => one.to === to)?.at);
    assert.ok(ready !== undefined && stopping !== undefined, "the target did not sleep");
    return stopping - ready;
  }

  /** The admin server's response to a GET. */
  async ask(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const request = http.get(`${this.#sidecar.adminUrl}${path}`, { agent: false });
    const [answer] = (await once(request, "response")) as [http.IncomingMessage];
    return { status: answer.statusCode ?? 0, body: await text(answer) };
  }

  /** Its status report. */
  get status(): StatusReport {
    return this.#sidecar.status;
  }

  /** The samples of one metric by labels: `{service="echo",state="ready"}` → 1. */
  async metric(name: string): Promise<ReadonlyMap<string, number>> {
    const { body } = await this.ask("/metrics");
    const lines = body.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(" ");
        return [line.slice(name.length, space), Number(line.slice(space + 1))];
      }),
    );
  }

  /** Waits until every connection is reported, and the state of each target is true. */
  async settle(): Promise<void> {
    if (this.#isClosed) return;
    await eventually("I1: every connection is reported", () => this.record.connections.length >= this.#clients);
    for (const [service, { to }] of this.#services) {
      const settled = async (): Promise<boolean> =>
        contradiction(to.name, this.state(service), await to.isAwake()) === undefined;
      await eventually(`I7: the state of ${to.name} is true`, settled);
    }
    this.#counted = byOutcome(await this.metric("wakeport_connections_total"));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#sidecar.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Its reports, for the checker of invariants. */
  get evidence(): Evidence {
    return { record: this.record, clients: this.#clients, counted: this.#counted, targets: this.#targets };
  }

  #port(service: string): number {
    const port = this.#ports.get(service) ?? discoveredPort(this.status, service);
    assert.ok(port !== undefined, `there is no service ${service}`);
    return port;
  }
}

/** The port of a service made by labels. */
function discoveredPort({ services }: StatusReport, service: string): number | undefined {
  const listenPort = services.find(({ name }) => name === service)?.ports[0]?.listener;
  return listenPort === undefined ? undefined : Number.parseInt(listenPort.split(":").at(-1) ?? "", 10);
}

function configOf(
  services: Readonly<Record<string, ServiceSpec>>,
  ports: ReadonlyMap<string, number>,
  { docker, defaults, shutdown, source = "" }: WakeportOptions,
): Config {
  const written = Object.entries(services).map(([name, { to, port = PORT, listenPort = "tcp", ...settings }]) => {
    const protocols = listenPort === "both" ? ["tcp", "udp"] : [listenPort];
    const listeners = protocols.map((protocol) => `127.0.0.1:${ports.get(name)}:${port}/${protocol}`);
    return [name, { ports: listeners, container: to.name, ...settings }];
  });
  const file = {
    services: Object.fromEntries(written),
    // A program that is stopped before it handles SIGTERM would delay a test by ten seconds.
    defaults: { stop_grace: "2s", ...defaults },
    // Containers are removed by force at the end.
    shutdown: { targets: "leave", drain: "1s", ...shutdown },
    ...(docker && { docker }),
  };
  // JSON is YAML.
  const bytes = Buffer.from(JSON.stringify(file));
  return parseConfig(bytes, source, { env: {}, adminListen: { host: "127.0.0.1", port: 0 } });
}

/** The name of the target in reports. */
function nameOf({ to, container = to.name }: ServiceSpec): string {
  if (typeof container === "object" && "image" in container) return `container ${to.name}`;
  const parts = typeof container === "string" ? [container] : [container.project, container.service];
  return `container ${parts.filter(Boolean).join("/")}`;
}

function byOutcome(samples: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const [labels, count] of samples) {
    const outcome = /outcome="(\w+)"/.exec(labels)?.[1] ?? "";
    counts.set(outcome, (counts.get(outcome) ?? 0) + count);
  }
  return counts;
}
