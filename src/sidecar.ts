/** The composition root: makes live objects of a configuration, opens them all or none, and closes them in reverse. */
import type net from "node:net";
import { ClosedError } from "./activation/errors.ts";
import {
  bansStatus,
  type EngineStatus,
  type OpenConnection,
  openConnection,
  type StatusReport,
  serviceStatus,
  unnamedStatus,
} from "./admin/api.ts";
import { AdminServer, MOST_ADMIN_CLIENTS } from "./admin/server.ts";
import { type StateReport, stateReport } from "./admin/state.ts";
import { within } from "./async.ts";
import { type Changes, changesBetween } from "./config/changes.ts";
import { type Config, isWoken, type Service, type TargetSpec, type WokenService } from "./config/config.ts";
import { describeTarget } from "./config/describe.ts";
import { NoConfigError } from "./config/load.ts";
import { ConfigError } from "./config/problem.ts";
import type { InetdSurroundings } from "./destinations.ts";
import { Discovery } from "./discovery.ts";
import { BindError, DeadlineError, messageOf, sentenceOf, TargetError } from "./errors.ts";
import { LiveService, wantedBy, wantedForUdp } from "./live-service.ts";
import { type Gatehouse, gatehouse } from "./net/admission/entrance.ts";
import { MOST_LEAVING } from "./net/admission/farewell.ts";
import { connectionLimit, Seats } from "./net/admission/seats.ts";
import { Connection, type Route, type Traffic } from "./net/connection.ts";
import { Fronts, type Opening } from "./net/fronts.ts";
import { Ident, MOST_QUESTIONS } from "./net/ident.ts";
import { claimInherited, type InheritedSocket } from "./net/inherited.ts";
import { type Front, formatFront, type Listener } from "./net/listener.ts";
import type { UdpFront } from "./net/udp/front.ts";
import { openAll, type UdpListener, type UdpService } from "./net/udp/service.ts";
import { bindOnTrial } from "./net/udp/trial.ts";
import { Roster } from "./roster.ts";
import { Orphans } from "./target/orphans.ts";
import { checkAccount, createEngine, type EngineParts, type Surroundings } from "./targets.ts";
import { type BuildInfo, Metrics } from "./telemetry/metrics.ts";
import { fanOut, type Observer } from "./telemetry/observer.ts";
import { Tally } from "./telemetry/tally.ts";

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
  /** Of this process. */
  readonly pid: number;
  /** Where the ident servers of clients listen; default: 113. */
  readonly identPort?: number;
}

export class Sidecar {
  #config: Config;
  readonly #build: BuildInfo;
  readonly #observer: Observer;
  readonly #metrics: Metrics;
  readonly #engine: EngineParts | undefined;
  readonly #orphans: Orphans | undefined;
  readonly #roster: Roster;
  readonly #discovery: Discovery | undefined;
  readonly #services = new Map<string, LiveService>();
  readonly #fronts = new Fronts((...client) => this.#accept(...client));
  readonly #admin: AdminServer;
  readonly #openFiles: number;
  readonly #ownFiles: number;
  readonly #inheritedFds: readonly number[];
  readonly #inheritedFronts = new Set<string>();
  readonly #gatehouse: Gatehouse;
  readonly #around: InetdSurroundings;
  readonly #pid: number;
  readonly #since: number = Date.now();
  readonly #tally = new Tally();
  readonly #ident: Ident;
  readonly #connections = new Map<Connection, Promise<void>>();
  #connectionCount = 0;
  readonly #ending = new Set<Promise<void>>();
  readonly #udpLeaving = new Set<UdpService>();
  #closed: Promise<void> | undefined;

  /** @throws TargetError for an engine address or an account that cannot be used */
  constructor(options: SidecarOptions) {
    const { config, build } = options;
    this.#config = config;
    this.#around = { ...options, busy: new Set() };
    this.#build = build;
    this.#pid = options.pid;
    this.#ident = new Ident(options.identPort);
    this.#metrics = new Metrics(build, () => [...this.#services.values()].map(({ gauges }) => gauges));
    this.#observer = fanOut(this.#metrics.observer, this.#tally.observer, options.observer);

    this.#openFiles = options.openFiles;
    this.#ownFiles = options.ownFiles;
    this.#inheritedFds = options.inheritedFds;
    this.#gatehouse = gatehouse(new Seats(() => this.#connectionLimit, "connections in all", "process_limit"));
    this.#engine = needsEngine(config) ? createEngine(config, options, this.#observer) : undefined;
    this.#orphans =
      this.#engine && new Orphans({ ...this.#engine, services: createdIn(config), observer: this.#observer });

    const { dependencyPolicy } = config;
    this.#roster = new Roster({ engine: this.#engine, around: options, observer: this.#observer, dependencyPolicy });
    // All at once, because those that share a target are to be told so from the beginning.
    const enabled = config.services.filter(({ enabled }) => enabled);
    this.#roster.add(enabled.filter(isWoken));
    for (const service of enabled) this.#enter(service);
    this.#discovery = this.#engine && config.discover && this.#discover(this.#engine);

    this.#admin = new AdminServer({
      ...config.admin,
      metrics: this.#metrics,
      status: () => this.status,
      open: (service, most) => this.#openOf(service, most),
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
    const { openings, udpListeners } = this.#all;
    // Those whose sockets were inherited need not bind.
    const inherited = this.#inherited([...openings, ...udpListeners].map(({ front }) => front));
    const opening = [
      this.#bind(openings, inherited),
      ...udpListeners.map((listener) => listener.open(inherited.get(listener.front)?.fd)),
      this.#admin.open(),
    ];
    const opened = await Promise.allSettled(opening);
    const failures = opened.filter((result) => result.status === "rejected").map(({ reason }) => messageOf(reason));
    if (failures.length > 0) {
      this.#fronts.close();
      for (const listener of udpListeners) listener.close();
      await this.#admin.close();
      throw new BindError(failures.join("\n"));
    }
    if (this.#connectionLimit < FEW_CONNECTIONS) this.#warnOfLimit();
    this.#orphans?.open();
    this.#engine?.events.open();
    this.#roster.open();
    this.#discovery?.open();
  }

  #inherited(fronts: readonly Front[]): ReadonlyMap<Front, InheritedSocket> {
    const onStray = (message: string): void => this.#observer.warning("listen_fds.stray", message);
    return claimInherited(this.#inheritedFds, fronts, onStray);
  }

  async #bind(openings: readonly Opening[], inherited: ReadonlyMap<Front, InheritedSocket>): Promise<void> {
    for (const front of inherited.keys()) this.#inheritedFronts.add(formatFront(front));
    this.#checkInherited([...this.#services.values()].map(({ service }) => service));
    using trial = await this.#fronts.bind(
      openings.map(({ front, route: { service } }) => ({ service, front })),
      inherited,
    );
    trial.keep();
    this.#fronts.lead(openings);
  }

  /**
   * A port that somebody else has bound for us can be handed on once, but never bound again: they still have it.
   *
   * @throws BindError
   */
  #checkInherited(services: readonly Service[]): void {
    const fronts = services.filter(({ target }) => target.kind === "inetd" && target.wait).flatMap(wantedBy);
    const [wrong] = fronts.filter(({ front }) => this.#inheritedFronts.has(formatFront(front)));
    if (wrong === undefined) return;
    const remedy = 'use "process: { activation: listen_fds }", or take it out of the socket unit';
    const what = `with "wait: true" ${formatFront(wrong.front)} cannot be an inherited socket`;
    throw new BindError(`service "${wrong.service}": ${what}: ${remedy}`);
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
    for (const workers of this.#around.busy) workers.kill();
  }

  /**
   * Puts another configuration in the place of the one in force, or leaves everything as it is; reports which. What did
   * not change is not touched. Connections that are open go on as they began, and a front that both have stays bound.
   *
   * @returns whether it did
   */
  async reload(read: () => Promise<Config>): Promise<boolean> {
    try {
      const { added, changed, removed, unchanged, afterRestart } = await this.#become(await read());
      this.#observer.reload({
        outcome: "success",
        added: added.map(({ name }) => name),
        changed: changed.map(({ to }) => to.name),
        removed: removed.map(({ name }) => name),
        unchanged,
        afterRestart,
      });
      return true;
    } catch (error) {
      if (!isExpected(error)) throw error;
      this.#observer.reload({ outcome: "failure", error });
      return false;
    }
  }

  get status(): StatusReport {
    const engine = this.#engine && engineStatus(this.#engine);
    return {
      version: this.#build.version,
      ...(engine && { engine }),
      ...(this.#discovery && { label_problems: this.#discovery.problems }),
      ...bansStatus(this.#gatehouse.bans.list(Date.now())),
      unnamed: this.#roster.unnamed.map(({ view }) => unnamedStatus(view)),
      services: this.#configured.map((service) => {
        const live = this.#services.get(service.name);
        return serviceStatus(service, describeTarget(service.target), live?.part);
      }),
    };
  }

  /** What serves the clients of a service that is listened for. */
  targetOf(service: string): TargetSpec | undefined {
    return this.#services.get(service)?.service.target;
  }

  /** All that is known at this moment. */
  get state(): StateReport {
    return stateReport({
      status: this.status,
      pid: this.#pid,
      since: this.#since,
      connections: this.#gatehouse.seats.taken,
      connectionLimit: this.#connectionLimit,
      services: this.#configured,
      tallied: (service) => this.#tally.of(service),
      open: (service, most) => this.#openOf(service, most),
    });
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
    this.#fronts.close();
    for (const listener of this.#all.udpListeners) listener.close();
    for (const connection of this.#connections.keys()) connection.refuse(new ClosedError("wakeport ends"));
    await this.#discovery?.close();
    this.#engine?.pulls.close();
    await this.#orphans?.close();
    await Promise.all([
      this.#roster.close({ drainMs, targets }),
      ...[...this.#around.busy].map((workers) => workers.close(drainMs)),
      this.#finished(drainMs),
    ]);
    await Promise.all(this.#ending);
    this.#gatehouse.farewell.close();
    for (const connection of this.#connections.keys()) connection.reset();
    this.#ident.close();
    await Promise.all([...this.#connections.values(), ...[...this.#services.values()].map(({ udp }) => udp?.close())]);
    await this.#admin.close();
    await this.#engine?.events.close();
    this.#engine?.engine.close();
  }

  /** Waits for those that nothing else waits for: they lead to nothing that wakeport has started. */
  async #finished(drainMs: number): Promise<void> {
    const open = Promise.all(this.#connections.values());
    await within(drainMs, "connections", open).catch((error: unknown) => {
      if (!(error instanceof DeadlineError)) throw error;
    });
  }

  get #configured(): readonly Service[] {
    return [...this.#config.services, ...(this.#discovery?.services ?? [])];
  }

  /** The first `most` connections of a service. */
  #openOf(service: string, most: number): OpenConnection[] {
    const open = this.#services.get(service)?.traffic.open.values() ?? [].values();
    return [...open.take(most).map(({ view }) => openConnection(view))];
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
    const live = this.#enter(service);
    try {
      using trial = await this.#fronts.bind(wantedBy(service));
      await openAll(live.udp?.listeners ?? []);
      trial.keep();
    } catch (error) {
      await this.#vanish(service);
      throw error;
    }
    this.#fronts.lead(live.openings);
  }

  /** Its connections may finish. A container is left as it is. */
  async #vanish(service: Service): Promise<void> {
    const current = this.#services.get(service.name);
    // Another one may have its name by now.
    const live = current?.service === service ? current : undefined;
    if (live !== undefined) {
      this.#fronts.release(service.name);
      for (const listener of live.udp?.listeners ?? []) listener.close();
      if (live.udp !== undefined) this.#udpLeaving.add(live.udp);
      this.#services.delete(service.name);
    }
    if (isWoken(service)) await this.#roster.remove(service, this.#config.shutdown.drainMs);
    await Promise.all([live?.udp?.close(), live?.retire(this.#config.shutdown.drainMs)]);
    if (live?.udp !== undefined) this.#udpLeaving.delete(live.udp);
  }

  /** @throws BindError, TargetError; everything is as before then */
  async #become(next: Config): Promise<Changes> {
    const changes = changesBetween(this.#config, next);
    const { config, added, changed, removed } = changes;
    if (this.#engine === undefined && needsEngine(next)) {
      const message = "no service needed the engine when wakeport was started";
      throw new TargetError("invalid", message, { remedy: "restart it, now that there is a container" });
    }
    const arriving = [...added.map((to) => ({ from: undefined, to })), ...changed];
    // All that can fail comes before the first thing that changes.
    for (const { to } of arriving) checkAccount(to, this.#around);
    this.#checkInherited(arriving.map(({ to }) => to));
    using trial = await this.#fronts.bind(arriving.flatMap(({ to }) => wantedBy(to)));
    const wanted = arriving.flatMap(({ to }) => wantedForUdp(to));
    const unbound = wanted.filter(({ front }) => !this.#udpServices.some((udp) => udp.holds(front)));
    using udpTrial = await bindOnTrial(unbound);
    this.#letGo(this.#roster.change(arriving, config.shutdown.drainMs));
    trial.keep();
    udpTrial.keep();
    this.#config = config;
    this.#roster.configure(config);
    this.#exchange(
      arriving.map(({ to }) => to),
      udpTrial.fronts,
    );
    for (const service of removed) this.#letGo(this.#vanish(service));
    this.#discovery?.configure(config);
    return changes;
  }

  /**
   * Has services that are new, or other than they were, in the place of what was there. No front is let go of before all
   * are led where they belong: one may have changed its owner.
   */
  #exchange(services: readonly Service[], fresh: readonly UdpFront[]): void {
    const { drainMs } = this.#config.shutdown;
    const udpBefore = this.#udpServices;
    const pairs = services.map((service) => {
      const before = this.#services.get(service.name);
      return { before, after: this.#enter(service) };
    });
    for (const { after } of pairs) {
      this.#fronts.lead(after.openings);
      if (after.udp !== undefined && !udpBefore.includes(after.udp)) after.udp.takeOver(udpBefore, fresh);
    }
    for (const { before, after } of pairs) {
      this.#fronts.release(after.service.name, after.openings);
      if (before === undefined) continue;
      this.#letGo(before.retire(drainMs));
      if (before.udp !== after.udp) this.#letGo(endUdp(before.udp));
    }
    for (const { after } of pairs) this.#letGo(this.#openRest(after));
  }

  /** A front of one that leaves may have been closed in the very moment in which it was to be taken over. */
  async #openRest({ service: { name }, udp }: LiveService): Promise<void> {
    for (const listener of udp?.listeners ?? []) {
      await listener.open().catch((error: unknown) => {
        this.#observer.warning("config.udp", `service "${name}": ${messageOf(error)}`);
      });
    }
  }

  /** Also of services that are gone, as long as flows of them are not over. */
  get #udpServices(): UdpService[] {
    return [...[...this.#services.values()].flatMap(({ udp }) => udp ?? []), ...this.#udpLeaving];
  }

  /** What ends in its own time, but before wakeport does. */
  #letGo(ending: Promise<void>): void {
    const done = ending.finally(() => this.#ending.delete(done));
    this.#ending.add(done);
  }

  #enter(service: Service): LiveService {
    const { name } = service;
    const before = this.#services.get(name);
    const live = new LiveService({
      service,
      before,
      activator: isWoken(service) ? this.#roster.activatorOf(service) : undefined,
      traffic: before?.traffic ?? this.#newTraffic(name),
      gatehouse: this.#gatehouse,
      observer: this.#observer,
      around: this.#around,
      nextId: () => ++this.#connectionCount,
    });
    this.#services.set(name, live);
    this.#metrics.addService(name, live.activator !== undefined);
    return live;
  }

  #newTraffic(name: string): Traffic {
    const limit = (): number => this.#services.get(name)?.service.limits.waiting ?? 0;
    return {
      waiting: new Seats(limit, `clients waiting for service "${name}"`),
      active: 0,
      open: new Set(),
      meter: { in: 0, out: 0 },
    };
  }

  #accept(client: net.Socket, route: Route, listener: Listener, current: () => Route | undefined): void {
    this.#connectionCount += 1;
    const id = this.#connectionCount;
    const ident = this.#config.log.userId ? this.#ident : undefined;
    const connection = new Connection({ id, client, listener, route, current, observer: this.#observer, ident });
    this.#connections.set(
      connection,
      connection.run().finally(() => this.#connections.delete(connection)),
    );
  }

  get #all(): { readonly openings: readonly Opening[]; readonly udpListeners: readonly UdpListener[] } {
    const services = [...this.#services.values()];
    return {
      openings: services.flatMap(({ openings }) => openings),
      udpListeners: services.flatMap(({ udp }) => udp?.listeners ?? []),
    };
  }

  #notReady(): string | undefined {
    if (this.#engine === undefined || this.#engine.events.isUp) return undefined;
    const [problem] = engineStatus(this.#engine).problems ?? [];
    return problem ?? `the engine at ${this.#engine.engine.url} does not answer`;
  }

  get #connectionLimit(): number {
    const listeners = this.#fronts.size + this.#all.udpListeners.length;
    const targets = this.#roster.size * FILES_PER_TARGET;
    // A question, and the refused client who is kept until it is answered.
    const questions = this.#config.log.userId ? 2 * MOST_QUESTIONS : 0;
    const passing = MOST_ADMIN_CLIENTS + MOST_LEAVING + questions + FILES_IN_PASSING;
    const reserved = this.#ownFiles + listeners + targets + passing;
    return connectionLimit(this.#openFiles, reserved);
  }

  #warnOfLimit(): void {
    const allowed = `the limit of ${this.#openFiles} open files allows ${this.#connectionLimit} connections at a time`;
    this.#observer.warning("limits.open_files", `${allowed}: raise it (ulimit -n)`);
  }
}

function needsEngine({ services, discover }: Config): boolean {
  const woken = services.filter(({ enabled }) => enabled).filter(isWoken);
  return discover !== undefined || woken.some(({ target }) => target.kind !== "process");
}

/** What makes a configuration unusable, as opposed to a fault of wakeport's own. */
function isExpected(error: unknown): error is Error {
  return [ConfigError, NoConfigError, BindError, TargetError].some((kind) => error instanceof kind);
}

/** Flows end, and those who go on sending begin new ones. */
async function endUdp(udp: UdpService | undefined): Promise<void> {
  for (const listener of udp?.listeners ?? []) listener.close();
  await udp?.close();
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
