import { isDeepStrictEqual } from "node:util";
import { bansStatus, type EngineStatus, type StatusReport, serviceStatus, unnamedStatus } from "../admin/api.ts";
import { AdminServer, MAX_ADMIN_CLIENTS } from "../admin/server.ts";
import { within } from "../async/wait.ts";
import { type Config, isWoken, type Service, type TargetSpec } from "../config/config.ts";
import { describeTarget } from "../config/describe.ts";
import { type Changes, changesBetween } from "../config/diff.ts";
import { NoConfigError } from "../config/load.ts";
import { ConfigError } from "../config/yaml/config-error.ts";
import { publishersOf } from "../docker/publishers.ts";
import { BindError, bindErrorOf, sentenceOf, TargetError } from "../errors.ts";
import { MAX_LINGERING } from "../proxy/admission/lingering-close.ts";
import { connectionLimit, Slots } from "../proxy/admission/slots.ts";
import { type SharedAdmission, sharedAdmission } from "../proxy/admission/stage.ts";
import { Ident, MAX_QUERIES } from "../proxy/ident.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";
import { Orphans } from "../targets/orphans.ts";
import { type BuildInfo, Metrics } from "../telemetry/metrics.ts";
import { fanOut, type Observer } from "../telemetry/observer.ts";
import type { InetdEnvironment } from "./handler-factory.ts";
import { LabelDiscovery } from "./label-discovery.ts";
import { listenersThatRead } from "./live-service.ts";
import { ServiceRegistry } from "./service-registry.ts";
import { createEngine, type EngineParts, type HostEnvironment } from "./target-factory.ts";
import { TargetRegistry } from "./target-registry.ts";

/** Descriptors of one target at a time: a process's two pipes while it runs, six while it starts; calls and probes. */
const FILES_PER_TARGET = 6;
/** The event stream, a ping, files that are read. */
const FILES_IN_PASSING = 16;

/** Deadline for the question which container publishes a port. */
const PUBLISHERS_MS = 2_000;

/** Fewer connections than this at a time is hardly meant. */
const FEW_CONNECTIONS = 256;

export interface DaemonOptions extends HostEnvironment {
  readonly config: Config;
  readonly build: BuildInfo;
  /** RLIMIT_NOFILE, and how many descriptors are in use before anything is opened. */
  readonly openFiles: number;
  readonly ownFiles: number;
  /** Sockets that are bound already; what fits no front is closed. */
  readonly inheritedFds: readonly number[];
  readonly observer: Observer;
  /** Where the ident servers of clients listen; default: 113. */
  readonly identPort?: number;
}

export class Daemon {
  #config: Config;
  readonly #build: BuildInfo;
  readonly #observer: Observer;
  readonly #metrics: Metrics;
  readonly #engine: EngineParts | undefined;
  readonly #orphans: Orphans | undefined;
  readonly #targets: TargetRegistry;
  readonly #discovery: LabelDiscovery | undefined;
  readonly #services: ServiceRegistry;
  #admin: AdminServer;
  readonly #openFiles: number;
  readonly #ownFiles: number;
  readonly #gatehouse: SharedAdmission;
  readonly #around: InetdEnvironment;
  readonly #ident: Ident;
  #closed: Promise<void> | undefined;

  /** @throws TargetError for an engine address or an account that cannot be used */
  constructor(options: DaemonOptions) {
    const { config, build } = options;
    this.#config = config;
    this.#around = { ...options, busy: new Set() };
    this.#build = build;
    this.#ident = new Ident(options.identPort);
    this.#metrics = new Metrics(build, () => this.#services.all.map(({ gauges }) => gauges));
    this.#observer = fanOut(this.#metrics.observer, options.observer);

    this.#openFiles = options.openFiles;
    this.#ownFiles = options.ownFiles;
    const slots = new Slots({
      limit: () => this.#connectionLimit,
      what: "connections in all",
      reason: "process_limit",
      services: () => this.#services.size,
    });
    this.#gatehouse = sharedAdmission(slots);
    this.#engine = needsEngine(config) ? createEngine(config, options, this.#observer) : undefined;
    this.#orphans =
      this.#engine && new Orphans({ ...this.#engine, services: createdIn(config), observer: this.#observer });

    const { dependencyPolicy } = config;
    this.#targets = new TargetRegistry({
      engine: this.#engine,
      host: options,
      observer: this.#observer,
      dependencyPolicy,
    });
    this.#services = new ServiceRegistry({
      targets: this.#targets,
      sharedAdmission: this.#gatehouse,
      host: this.#around,
      observer: this.#observer,
      onEnter: (service) => this.#countFor(service),
      ident: () => (this.#config.log.userId ? this.#ident : undefined),
      inheritedFds: options.inheritedFds,
    });
    // All at once, because those that share a target are to be told so from the beginning.
    const enabled = config.services.filter(({ enabled }) => enabled);
    this.#targets.add(enabled.filter(isWoken));
    for (const service of enabled) this.#services.register(service);
    this.#discovery = this.#engine && config.discover && this.#discover(this.#engine);

    this.#admin = this.#newAdmin(config.admin);
    if (this.#engine !== undefined) this.#metrics.addEngine();
  }

  /**
   * Binds every port, then begins to follow engine and targets. An engine that is down does not keep it from opening.
   *
   * @throws BindError that names each address that cannot be bound; nothing is left open then
   */
  async open(): Promise<void> {
    const opened = await Promise.allSettled([this.#services.open(), this.#admin.open()]);
    const failure = bindErrorOf(opened);
    if (failure !== undefined) {
      this.#services.close();
      await this.#admin.close();
      const explained = await this.#withPublishers(failure);
      this.#engine?.engine.close();
      throw explained;
    }
    if (this.#connectionLimit < FEW_CONNECTIONS) this.#warnOfLimit();
    this.#orphans?.open();
    this.#engine?.events.open();
    this.#targets.open();
    this.#discovery?.open();
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
    this.#targets.kill();
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
      const { added, changed, removed, unchanged, afterRestart } = await this.#apply(await read());
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
      unnamed: this.#targets.implicitTargets.map(({ view }) => unnamedStatus(view)),
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

  /** For people: the engine in use and its address; undefined when none is needed, or none answered yet. */
  get engineDescription(): string | undefined {
    return this.#engine?.events.description;
  }

  /** The address of the admin server, as bound. */
  get adminUrl(): string {
    const { host } = this.#config.admin;
    return `http://${formatListenAddress({ address: host, port: this.#admin.port })}`;
  }

  async #close(): Promise<void> {
    const { targets, drainMs } = this.#config.shutdown;
    this.#services.close();
    await this.#discovery?.close();
    this.#engine?.pulls.close();
    await this.#orphans?.close();
    await Promise.all([
      this.#targets.close({ drainMs, targets }),
      ...[...this.#around.busy].map((workers) => workers.close(drainMs)),
      this.#services.drain(drainMs),
    ]);
    await this.#services.end();
    this.#ident.close();
    await this.#admin.close();
    await this.#engine?.events.close();
    this.#engine?.engine.close();
  }

  #countFor(service: Service): void {
    this.#metrics.addService(service.name, isWoken(service));
    for (const listener of listenersThatRead(service)) this.#metrics.addListener(formatListenAddress(listener));
  }

  get #configured(): readonly Service[] {
    return [...this.#config.services, ...(this.#discovery?.services ?? [])];
  }

  #discover(engine: EngineParts): LabelDiscovery {
    return new LabelDiscovery({
      config: this.#config,
      engine,
      observer: this.#observer,
      onChange: (changes, commit) => this.#services.change(changes, this.#config.shutdown.drainMs, commit),
      onTrial: (service) => this.#services.checkAvailable(service),
    });
  }

  /** @throws BindError, TargetError; everything is as before then */
  async #apply(next: Config): Promise<Changes> {
    const changes = changesBetween(this.#config, next);
    const { config } = changes;
    if (this.#engine === undefined && needsEngine(next)) {
      const message = "no service needed the engine when wakeport was started";
      throw new TargetError("invalid", message, { remedy: "restart it, now that there is a container" });
    }
    const commit = (): void => {
      this.#config = config;
      this.#targets.configure(config);
      this.#discovery?.configure(config);
    };
    const change = (): Promise<void> => this.#services.change(() => changes, config.shutdown.drainMs, commit);
    await this.#moveAdmin(config.admin, change).catch(async (error: unknown) => {
      throw error instanceof BindError ? await this.#withPublishers(error) : error;
    });
    return changes;
  }

  /** Adds the containers that publish the ports in use, if the engine answers. */
  async #withPublishers(error: BindError): Promise<BindError> {
    if (error.taken.length === 0 || this.#engine === undefined) return error;
    const asked = publishersOf(error.taken, this.#engine, AbortSignal.timeout(PUBLISHERS_MS));
    const lines = await within(PUBLISHERS_MS, "the engine", asked).catch(() => []);
    return new BindError([error.message, ...lines].join("\n"), { cause: error });
  }

  #newAdmin(address: Config["admin"]): AdminServer {
    return new AdminServer({
      ...address,
      allowedHosts: () => [address.host.toLowerCase(), ...this.#config.adminAllowedHosts],
      metrics: this.#metrics,
      status: () => this.status,
      open: (service, most) => this.#services.openOf(service, most),
      notReady: () => this.#notReady(),
    });
  }

  /**
   * Moves the admin server to `address` and applies a change. The old address is closed first, because a service may take
   * it and the new one may include it.
   *
   * @throws BindError and errors of `change`; then the admin server listens at the old address
   */
  async #moveAdmin(address: Config["admin"], change: () => Promise<void>): Promise<void> {
    if (isDeepStrictEqual(address, this.#config.admin)) return change();
    const before = this.#admin;
    const admin = this.#newAdmin(address);
    await before.close();
    try {
      await admin.open();
      await change();
      this.#admin = admin;
    } catch (error) {
      await admin.close();
      await before.open();
      throw error;
    }
  }

  #notReady(): string | undefined {
    if (this.#engine === undefined || this.#engine.events.isUp) return undefined;
    const [problem] = engineStatus(this.#engine).problems ?? [];
    return problem ?? `the engine at ${this.#engine.engine.url} does not answer`;
  }

  get #connectionLimit(): number {
    const { listeners } = this.#services;
    const targets = this.#targets.size * FILES_PER_TARGET;
    // One for the query, one for the rejected client that stays open until the answer.
    const queries = this.#config.log.userId ? 2 * MAX_QUERIES : 0;
    const passing = MAX_ADMIN_CLIENTS + MAX_LINGERING + queries + FILES_IN_PASSING;
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

/** The services whose containers wakeport makes, those that are not enabled among them. */
function createdIn({ services }: Config): ReadonlySet<string> {
  return new Set(services.filter(({ target }) => target.kind === "created").map(({ name }) => name));
}

function engineStatus({ engine, events }: EngineParts): EngineStatus {
  const trouble = events.trouble === undefined ? [] : [sentenceOf(events.trouble)];
  const problems = [...new Set([...trouble, ...engine.refusals.sentences])];
  return { url: engine.url, up: events.isUp, ...(problems.length > 0 && { problems }) };
}
