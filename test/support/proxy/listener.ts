/** A service with a real listener and real connections, and a target that the test controls. */
import type net from "node:net";
import { Activator } from "../../../src/activation/activator.ts";
import type { ActivationReport } from "../../../src/activation/reports.ts";
import type { TargetStatus } from "../../../src/activation/target.ts";
import { Semaphore } from "../../../src/async/semaphore.ts";
import { nodeRelayer } from "../../../src/net/relay.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import { Connection } from "../../../src/proxy/connection.ts";
import type { Handler } from "../../../src/proxy/handlers/handler.ts";
import { TargetHandler } from "../../../src/proxy/handlers/target.ts";
import { Listener } from "../../../src/proxy/listen/listener.ts";
import type { Protocol } from "../../../src/proxy/protocols/protocol.ts";
import { raw } from "../../../src/proxy/protocols/raw.ts";
import type { ConnectionReport } from "../../../src/proxy/reports.ts";
import type { ServiceConnections } from "../../../src/proxy/service-connections.ts";
import { observer } from "../../../src/telemetry/observer.ts";
import { FakeTarget, openCalls } from "../activation/fake-target.ts";
import { eventually } from "../eventually.ts";
import { connecting, type Peer } from "../net/tcp.ts";
import { type AdmissionStageOptions, openAdmission } from "./open-admission.ts";

/** A fake target with real ports of this machine. */
class LocalTarget extends FakeTarget {
  host = "127.0.0.1";
  /** Delays each inspect until it resolves. */
  news: Promise<void> = Promise.resolve();

  override async inspect(signal: AbortSignal): Promise<TargetStatus> {
    await this.news;
    const status = await super.inspect(signal);
    return status.up ? { ...status, address: status.noRoute === undefined ? this.host : "" } : status;
  }
}

export interface FrontOptions {
  /** Port of the target's server. */
  readonly upstream: number;
  readonly startTimeoutMs?: number;
  readonly waiting?: number | (() => number);
  readonly slots?: number;
  /** Access rules, limits and banners; default: all clients are admitted, without a banner. */
  readonly admission?: AdmissionStageOptions;
  readonly pace?: number;
  /** Listen address; undefined: all addresses. */
  readonly address?: string | undefined;
  /** Resolves when the target is ready; default: at once. */
  readonly probe?: () => Promise<void>;
  /** Default: raw. */
  readonly protocol?: Protocol;
  /** Timeout of the first byte; default: no first byte is needed. */
  readonly silenceMs?: number;
}

export class TestListener implements AsyncDisposable {
  readonly target: LocalTarget = new LocalTarget();
  readonly activator: Activator;
  readonly traffic: ServiceConnections;
  readonly pace: Semaphore;
  readonly slots: Slots;
  /** The reports of closed connections. */
  readonly reports: ConnectionReport[] = [];
  readonly activations: ActivationReport[] = [];
  /** The handler after a reload; undefined: the first one. */
  successor: Handler | undefined;
  /** The accepted sockets and connections, in order. */
  readonly accepted: net.Socket[] = [];
  readonly connections: Connection[] = [];
  readonly #listener: Listener;
  readonly #running: Promise<void>[] = [];

  private constructor({ upstream, startTimeoutMs = 30_000, waiting = 100, ...rest }: FrontOptions) {
    const { slots = 100, pace = 32, probe = () => Promise.resolve(), protocol = raw } = rest;
    this.slots = new Slots({ limit: slots, what: "connections in total", reason: "process_limit" });
    const admission = openAdmission({ slots: this.slots, ...rest.admission });
    this.traffic = {
      waiting: new Slots({ limit: waiting, what: "clients waiting" }),
      active: 0,
      open: new Set(),
      meter: { in: 0, out: 0 },
    };
    this.pace = new Semaphore(pace);
    const reporter = observer({
      connection: (report) => this.reports.push(report),
      activation: (report) => this.activations.push(report),
    });
    this.activator = new Activator({
      target: this.target,
      probe,
      policy: { idleTimeoutMs: 60_000, sleep: "stop", minUptimeMs: 0, startTimeoutMs },
      services: ["web"],
      observer: reporter,
    });
    const address = "address" in rest ? rest.address : "127.0.0.1";
    const handler = new TargetHandler({
      service: "web",
      activator: this.activator,
      targetPort: upstream,
      pace: this.pace,
      protocol,
      relayer: nodeRelayer,
      silenceMs: rest.silenceMs,
    });
    const listenPort = { port: 0, ...(address !== undefined && { address }) };
    this.#listener = new Listener("web", listenPort, (client) => {
      const { traffic } = this;
      const route = { service: "web", listener: "127.0.0.1:80", admission, handler, connections: traffic };
      const id = this.accepted.push(client);
      const connection = new Connection({
        id,
        client,
        listener: this.#listener,
        route,
        current: () => ({ ...route, handler: this.successor ?? handler }),
        observer: reporter,
      });
      this.connections.push(connection);
      this.#running.push(connection.run());
    });
  }

  static async open(options: FrontOptions): Promise<TestListener> {
    const listenPort = new TestListener(options);
    await listenPort.#listener.open();
    listenPort.activator.open();
    return listenPort;
  }

  get port(): number {
    return this.#listener.port;
  }

  get state(): string {
    return this.activator.view.state;
  }

  /** Connects, and waits for the accept. @param from source address; default: the kernel's choice */
  async client(from?: string): Promise<Peer> {
    const before = this.accepted.length;
    const peer = connecting(this.#listener.port, "127.0.0.1", from);
    await eventually("the client is accepted", () => this.accepted.length > before);
    return peer;
  }

  async clients(count: number): Promise<Peer[]> {
    const peers: Peer[] = [];
    while (peers.length < count) peers.push(await this.client());
    return peers;
  }

  /** Waits until the start is under way, then lets it succeed. */
  async start(): Promise<void> {
    await this.starting();
    this.target.finishStart();
  }

  /** Waits for a start, which the test must finish. */
  async starting(): Promise<void> {
    await eventually("a start is under way", () => openCalls(this.target.starts).length > 0);
  }

  async becomes(state: string): Promise<void> {
    await eventually(`the state is ${state}`, () => this.state === state);
  }

  /** Waits until `count` connections are closed. */
  async reported(count: number): Promise<readonly ConnectionReport[]> {
    await eventually(`${count} connections are closed`, () => this.reports.length >= count);
    return this.reports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.target.isPrompt = true;
    for (const stop of openCalls(this.target.stops)) stop.resolve();
    await this.activator.close({ drainMs: 0, leaveRunning: true });
    for (const client of this.accepted) client.destroy();
    await Promise.all(this.#running);
  }
}

/** A listener with one handler, without a target. */
export class DirectFront implements AsyncDisposable {
  /** The reports of closed connections. */
  readonly reports: ConnectionReport[] = [];
  readonly traffic: ServiceConnections = {
    waiting: new Slots({ limit: 100, what: "waiting" }),
    active: 0,
    open: new Set(),
    meter: { in: 0, out: 0 },
  };
  readonly #listener: Listener;
  readonly #running = new Map<Connection, Promise<void>>();

  private constructor(handler: Handler) {
    const reporter = observer({ connection: (report) => this.reports.push(report) });
    const admission = openAdmission();
    const listenPort = { address: "127.0.0.1", port: 0 };
    this.#listener = new Listener("direct", listenPort, (client) => {
      const route = { service: "direct", listener: "127.0.0.1:0", admission, handler, connections: this.traffic };
      const id = this.#running.size + 1;
      const connection = new Connection({
        id,
        client,
        listener: this.#listener,
        route,
        current: () => route,
        observer: reporter,
      });
      this.#running.set(connection, connection.run());
    });
  }

  static async open(handler: Handler): Promise<DirectFront> {
    const listenPort = new DirectFront(handler);
    await listenPort.#listener.open();
    return listenPort;
  }

  connect(): Peer {
    return connecting(this.#listener.port);
  }

  /** Waits until `count` connections are closed. */
  async reported(count: number): Promise<readonly ConnectionReport[]> {
    await eventually(`${count} connections are closed`, () => this.reports.length >= count);
    return this.reports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#running.keys()) connection.reset();
    await Promise.all(this.#running.values());
  }
}
