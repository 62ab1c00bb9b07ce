/** The composition root: makes live objects of a configuration, opens them all or none, and closes them in reverse. */
import type net from "node:net";
import type { Activator } from "./activation/activator.ts";
import { type EngineStatus, type StatusReport, serviceStatus, unnamedStatus } from "./admin/api.ts";
import { AdminServer, MOST_ADMIN_CLIENTS } from "./admin/server.ts";
import { type Config, isWoken, type Service, type WokenService } from "./config/config.ts";
import { describeTarget } from "./config/describe.ts";
import { type DestinationOf, destinationsOf } from "./destinations.ts";
import { Discovery } from "./discovery.ts";
import { BindError, messageOf, sentenceOf } from "./errors.ts";
import { connectionLimit, Seats } from "./net/admission.ts";
import { Connection, type Route, type Traffic } from "./net/connection.ts";
import { claimInherited } from "./net/inherited.ts";
import { formatFront, Listener } from "./net/listener.ts";
import { type UdpListener, UdpService } from "./net/udp/service.ts";
import { Roster } from "./roster.ts";
import { Orphans } from "./target/orphans.ts";
import { createEngine, type EngineParts, type Surroundings } from "./targets.ts";
import { type BuildInfo, Metrics, type ServiceGauges } from "./telemetry/metrics.ts";
import { fanOut, type Observer } from "./telemetry/observer.ts";

/** Descriptors of one target at a time: a process's two pipes while it runs, six while it starts; calls and probes. */
const FILES_PER_TARGET = 6;
/** The event stream, a ping, files that are read. */
const FILES_IN_PASSING = 16;

/** Fewer connections than this at a time is hardly meant. */
const FEW_CONNECTIONS = 256;

export interface SidecarOptions extends Surroundings {
  readonly config: Config;
  readonly build: BuildInfo;
  /** RLIMIT_NOFILE, and how many descriptors are in use before anything is opened. */
  readonly openFiles: number;
  readonly ownFiles: number;
  /** Sockets that are bound already; what fits no front is closed. */
  readonly inheritedFds: readonly number[];
  readonly observer: Observer;
}

/** An enabled service with what it shares and what it counts. */
interface LiveService {
  readonly service: Service;
  /** Undefined where there is nothing to wake. */
  readonly activator: Activator | undefined;
  readonly traffic: Traffic;
  /** Of a service that has ports for datagrams. */
  readonly udp: UdpService | undefined;
  readonly listeners: readonly (Listener | UdpListener)[];
}

export class Sidecar {
  readonly #config: Config;
  readonly #build: BuildInfo;
  readonly #observer: Observer;
  readonly #metrics: Metrics;
  readonly #engine: EngineParts | undefined;
  readonly #orphans: Orphans | undefined;
  readonly #roster: Roster;
  readonly #discovery: Discovery | undefined;
  readonly #services = new Map<string, LiveService>();
  readonly #admin: AdminServer;
  readonly #openFiles: number;
  readonly #ownFiles: number;
  readonly #inheritedFds: readonly number[];
  readonly #seats: Seats;
  readonly #connections = new Map<Connection, Promise<void>>();
  #connectionCount = 0;
  #closed: Promise<void> | undefined;

  /** @throws TargetError for an engine address or an account that cannot be used */
  constructor(options: SidecarOptions) {
    const { config, build } = options;
    this.#config = config;
    this.#build = build;
    this.#metrics = new Metrics(build, () => this.#gauges());
    this.#observer = fanOut(this.#metrics.observer, options.observer);

    const enabled = config.services.filter(({ enabled }) => enabled);
    const woken = enabled.filter(isWoken);
    const needsEngine = config.discover !== undefined || woken.some(({ target }) => target.kind !== "process");
    this.#engine = needsEngine ? createEngine(config, options, this.#observer) : undefined;
    this.#orphans =
      this.#engine && new Orphans({ ...this.#engine, services: createdIn(config), observer: this.#observer });

    const { dependencyPolicy } = config;
    this.#roster = new Roster({ engine: this.#engine, around: options, observer: this.#observer, dependencyPolicy });
    // All at once, because those that share a target are to be told so from the beginning.
    this.#roster.add(woken);
    for (const service of enabled) this.#enter(service);
    this.#discovery = this.#engine && config.discover && this.#discover(this.#engine);
    this.#openFiles = options.openFiles;
    this.#ownFiles = options.ownFiles;
    this.#inheritedFds = options.inheritedFds;
    this.#seats = new Seats(() => this.#connectionLimit, "connections in all");

    this.#admin = new AdminServer({
      ...config.admin,
      metrics: this.#metrics,
      status: () => this.status,
      notReady: () => this.#notReady(),
    });
    if (this.#engine !== undefined) this.#metrics.addEngine();
  }

  /**
   * Binds every port, then begins to follow engine and targets. An engine that is down does not keep it from opening.
   *
   * @throws BindError that names each address that cannot be bound; nothing is left open then
   */
  async open(): Promise<void> {
    const listeners = [...this.#services.values()].flatMap((live) => live.listeners);
    const opening = [...this.#openListeners(listeners), this.#admin.open()];
    const opened = await Promise.allSettled(opening);
    const failures = opened.filter((result) => result.status === "rejected").map(({ reason }) => messageOf(reason));
    if (failures.length > 0) {
      for (const listener of listeners) listener.close();
      await this.#admin.close();
      throw new BindError(failures.join("\n"));
    }
    if (this.#connectionLimit < FEW_CONNECTIONS) this.#warnOfLimit();
    this.#orphans?.open();
    this.#engine?.events.open();
    this.#roster.open();
    this.#discovery?.open();
  }

  /** Those whose sockets were inherited need not bind. */
  #openListeners(listeners: readonly Listener[]): Promise<void>[] {
    const fronts = listeners.map(({ front }) => front);
    const onStray = (message: string): void => this.#observer.warning("listen_fds.stray", message);
    const inherited = claimInherited(this.#inheritedFds, fronts, onStray);
    return listeners.map((listener) => listener.open(inherited.get(listener.front)?.fd));
  }

  /** Resolves when it is known whether the engine answers; at once when none is needed. */
  async settled(): Promise<void> {
    await this.#engine?.events.known;
  }

  /**
   * Drains: no new connections, those that are relayed may finish until `shutdown.drain`, then targets are put to
   * sleep, or left running. Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** For an end without a drain: processes would outlive us. */
  kill(): void {
    this.#roster.kill();
  }

  get status(): StatusReport {
    const engine = this.#engine && engineStatus(this.#engine);
    return {
      version: this.#build.version,
      ...(engine && { engine }),
      ...(this.#discovery && { label_problems: this.#discovery.problems }),
      unnamed: this.#roster.unnamed.map(({ view }) => unnamedStatus(view)),
      services: [...this.#config.services, ...(this.#discovery?.services ?? [])].map((service) => {
        const live = this.#services.get(service.name);
        return serviceStatus(service, describeTarget(service.target), live && liveStatus(live));
      }),
    };
  }

  /** For people: the engine in use and its address; undefined when none is needed, or none answered yet. */
  get engineDescription(): string | undefined {
    return this.#engine?.events.description;
  }

  /** The address of the admin server, as bound. */
  get adminUrl(): string {
    const { host } = this.#config.admin;
    return `http://${formatFront({ address: host, port: this.#admin.port })}`;
  }

  async #close(): Promise<void> {
    const { targets, drainMs } = this.#config.shutdown;
    for (const { listeners } of this.#services.values()) for (const listener of listeners) listener.close();
    await this.#discovery?.close();
    this.#engine?.pulls.close();
    await this.#orphans?.close();
    await this.#roster.close({ drainMs, targets });
    for (const connection of this.#connections.keys()) connection.reset();
    await Promise.all([...this.#connections.values(), ...[...this.#services.values()].map(({ udp }) => udp?.close())]);
    await this.#admin.close();
    await this.#engine?.events.close();
    this.#engine?.engine.close();
  }

  #discover(engine: EngineParts): Discovery {
    return new Discovery({
      config: this.#config,
      engine,
      observer: this.#observer,
      onAppear: (service) => this.#appear(service),
      onVanish: (service) => this.#vanish(service),
    });
  }

  async #appear(service: WokenService): Promise<void> {
    this.#roster.add([service]);
    const { listeners } = this.#enter(service);
    const opened = await Promise.allSettled(listeners.map((listener) => listener.open()));
    const failures = opened.filter((result) => result.status === "rejected").map(({ reason }) => messageOf(reason));
    if (failures.length === 0) return;
    await this.#vanish(service);
    throw new BindError(failures.join("; "));
  }

  /** Its connections may finish; its target is left as it is. */
  async #vanish(service: WokenService): Promise<void> {
    const live = this.#services.get(service.name);
    for (const listener of live?.listeners ?? []) listener.close();
    this.#services.delete(service.name);
    await this.#roster.remove(service, this.#config.shutdown.drainMs);
    await live?.udp?.close();
  }

  #enter(service: Service): LiveService {
    const traffic = newTraffic(service);
    const activator = isWoken(service) ? this.#roster.activatorOf(service) : undefined;
    const tcp = this.#listenersOf(service, destinationsOf(service, activator), traffic);
    const udp = activator && this.#udpOf(service, activator, traffic);
    const live = { service, activator, traffic, udp, listeners: [...tcp, ...(udp?.listeners ?? [])] };
    this.#services.set(service.name, live);
    this.#metrics.addService(service.name, activator !== undefined);
    return live;
  }

  #listenersOf(service: Service, destinationOf: DestinationOf, traffic: Traffic): Listener[] {
    const ports = service.ports.filter(({ protocol }) => protocol !== "udp");
    return ports.map((port) => {
      const front = { port: port.front, ...(port.address !== undefined && { address: port.address }) };
      const route = { service: service.name, front: formatFront(front), destination: destinationOf(port), traffic };
      return new Listener(service.name, front, (client) => this.#accept(client, route));
    });
  }

  #udpOf(
    { name, ports, udp, startTimeoutMs }: Service,
    activator: Activator,
    traffic: Traffic,
  ): UdpService | undefined {
    const forDatagrams = ports.filter(({ protocol }) => protocol === "udp");
    if (forDatagrams.length === 0) return undefined;
    const admit = (): Disposable => this.#seats.take();
    return new UdpService({
      route: { service: name, activator, traffic, observer: this.#observer, admit },
      ports: forDatagrams,
      limits: udp,
      refusedMs: startTimeoutMs,
      nextId: () => ++this.#connectionCount,
    });
  }

  #accept(client: net.Socket, route: Route): void {
    this.#connectionCount += 1;
    const id = this.#connectionCount;
    const connection = new Connection({ id, client, route, seats: this.#seats, observer: this.#observer });
    this.#connections.set(
      connection,
      connection.run().finally(() => this.#connections.delete(connection)),
    );
  }

  #gauges(): ServiceGauges[] {
    return [...this.#services.values()].map(({ service, activator, traffic, udp }) => ({
      service: service.name,
      view: activator?.view,
      waiting: traffic.waiting.taken,
      active: traffic.active,
      meter: traffic.meter,
      udp,
    }));
  }

  #notReady(): string | undefined {
    if (this.#engine === undefined || this.#engine.events.isUp) return undefined;
    const [problem] = engineStatus(this.#engine).problems ?? [];
    return problem ?? `the engine at ${this.#engine.engine.url} does not answer`;
  }

  get #connectionLimit(): number {
    const services = [...this.#services.values()];
    const listeners = services.reduce((count, live) => count + live.listeners.length, 0);
    const targets = this.#roster.size * FILES_PER_TARGET;
    const reserved = this.#ownFiles + listeners + targets + MOST_ADMIN_CLIENTS + FILES_IN_PASSING;
    return connectionLimit(this.#openFiles, reserved);
  }

  #warnOfLimit(): void {
    const allowed = `the limit of ${this.#openFiles} open files allows ${this.#connectionLimit} connections at a time`;
    this.#observer.warning("limits.open_files", `${allowed}: raise it (ulimit -n)`);
  }
}

/** The services whose containers wakeport makes, those that are not enabled among them. */
function createdIn({ services }: Config): ReadonlySet<string> {
  return new Set(services.filter(({ target }) => target.kind === "created").map(({ name }) => name));
}

function engineStatus({ engine, events }: EngineParts): EngineStatus {
  const trouble = events.trouble === undefined ? [] : [sentenceOf(events.trouble)];
  const problems = [...new Set([...trouble, ...engine.refusals.sentences])];
  return { url: engine.url, up: events.isUp, ...(problems.length > 0 && { problems }) };
}

function newTraffic({ name, limits }: Service): Traffic {
  return {
    waiting: new Seats(limits.waiting, `clients waiting for service "${name}"`),
    active: 0,
    meter: { in: 0, out: 0 },
  };
}

function liveStatus({ activator, traffic }: LiveService): Parameters<typeof serviceStatus>[2] {
  return { view: activator?.view, connections: traffic.active, waiting: traffic.waiting.taken };
}
