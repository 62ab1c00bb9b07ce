import { bansStatus, type StatusReport, serviceStatus, unnamedStatus } from "../admin/api.ts";
import { type SharedSettings, sharedNeeds, sharedSettings } from "../config/client-needs.ts";
import { type Config, isWoken, type Service, startsPrograms, type TargetSpec } from "../config/config.ts";
import { NoConfigError } from "../config/default-paths.ts";
import { describeTarget } from "../config/describe-target.ts";
import { type Changes, changesBetween } from "../config/diff.ts";
import { ConfigError } from "../config/yaml/config-error.ts";
import { DataPlane, withoutDataPlane } from "../dataplane/data-plane.ts";
import { BindError, bindErrorOf, TargetError } from "../errors.ts";
import { KernelRoute } from "../kernel-route/kernel-route.ts";
import { type SharedAdmission, sharedAdmission } from "../proxy/admission/admission-stage.ts";
import { Slots } from "../proxy/admission/slots.ts";
import { Ident } from "../proxy/ident.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";
import { Orphans } from "../targets/orphans.ts";
import { forkWarning, killStarting, loadPosixSpawn } from "../targets/spawners.ts";
import { type BuildInfo, Metrics } from "../telemetry/metrics.ts";
import { fanOut, type Observer } from "../telemetry/observer.ts";
import { AdminEndpoint } from "./admin-endpoint.ts";
import { withPublishers } from "./bind-error.ts";
import { connectionLimitOf, type DescriptorUse, maxPipesOf, openFilesWarning } from "./descriptor-budget.ts";
import { createEngine, type EngineParts, engineProblem, engineStatus } from "./engine-parts.ts";
import type { InetdEnvironment } from "./handler-factory.ts";
import { LabelDiscovery } from "./label-discovery.ts";
import { listenersThatRead } from "./service-listeners.ts";
import { ServiceRegistry } from "./service-registry.ts";
import type { HostEnvironment } from "./target-factory.ts";
import { TargetRegistry } from "./target-registry.ts";

export interface DaemonOptions extends HostEnvironment {
  readonly config: Config;
  readonly build: BuildInfo;
  /** RLIMIT_NOFILE. */
  readonly openFiles: number;
  /** Number of descriptors that were open at the start. */
  readonly ownFiles: number;
  /** Sockets that were bound before the start. A socket without a matching listener is closed. */
  readonly inheritedFds: readonly number[];
  readonly observer: Observer;
  /** Port of clients' ident servers; default: 113. */
  readonly identPort?: number;
}

/** All parts of a running wakeport: opens, reloads, drains and closes them. */
export class Daemon {
  #config: Config;
  readonly #options: DaemonOptions;
  readonly #observer: Observer;
  readonly #metrics: Metrics;
  readonly #engine: EngineParts | undefined;
  readonly #orphans: Orphans | undefined;
  readonly #kernelRoute: KernelRoute;
  readonly #targets: TargetRegistry;
  readonly #discovery: LabelDiscovery | undefined;
  readonly #services: ServiceRegistry;
  readonly #admin: AdminEndpoint;
  readonly #sharedAdmission: SharedAdmission;
  readonly #host: InetdEnvironment;
  readonly #ident: Ident;
  readonly #dataPlane: DataPlane;
  #isSpawnLoaded = false;
  #closed: Promise<void> | undefined;

  /** @throws TargetError if the engine address is invalid, or a user or group does not exist */
  constructor(options: DaemonOptions) {
    const { config } = options;
    this.#config = config;
    this.#options = options;
    this.#host = { ...options, busy: new Set() };
    this.#ident = new Ident(options.identPort);
    this.#metrics = new Metrics(options.build, () => {
      this.#dataPlane.count();
      return this.#services.all.map(({ gauges }) => gauges);
    });
    this.#observer = fanOut(this.#metrics.observer, options.observer);
    this.#dataPlane = this.#newDataPlane();
    this.#sharedAdmission = sharedAdmission(this.#newSlots());
    this.#engine = needsEngine(config)
      ? createEngine(config, options, this.#observer, () => this.areTargetsAsleep)
      : undefined;
    this.#orphans =
      this.#engine && new Orphans({ ...this.#engine, services: createdIn(config), observer: this.#observer });

    this.#kernelRoute = new KernelRoute({ settings: this.#sharedSettings, observer: this.#observer });
    const { dependencyPolicy } = config;
    this.#targets = new TargetRegistry({
      engine: this.#engine,
      host: options,
      observer: this.#observer,
      kernelRoute: this.#kernelRoute,
      offloadLimit: () => this.#offloadLimit,
      dependencyPolicy,
    });
    this.#services = new ServiceRegistry({
      targets: this.#targets,
      sharedAdmission: this.#sharedAdmission,
      kernelRoute: this.#kernelRoute,
      host: this.#host,
      dataPlane: this.#dataPlane,
      observer: this.#observer,
      onRegister: (service) => this.#addMetrics(service),
      ident: () => (this.#config.log.userId ? this.#ident : undefined),
      inheritedFds: options.inheritedFds,
    });
    // Added together, so that a shared target knows all its services from the start.
    const enabled = config.services.filter(({ enabled }) => enabled);
    this.#targets.add(enabled.filter(isWoken));
    for (const service of enabled) this.#services.register(service);
    this.#discovery = this.#engine && config.discover && this.#discover(this.#engine);

    this.#admin = this.#newAdmin();
    if (this.#engine !== undefined) this.#metrics.addEngine();
  }

  /**
   * Binds every port, then opens the engine's event stream and the targets. Does not wait for the engine.
   *
   * @throws BindError with a line for each address that cannot be bound; then nothing stays open
   */
  async open(): Promise<void> {
    const enabled = this.#config.services.filter((service) => service.enabled);
    await this.#kernelRoute.open(enabled, this.#config.discover !== undefined);
    const opened = await Promise.allSettled([this.#services.open(), this.#admin.open()]);
    const failure = bindErrorOf(opened);
    if (failure !== undefined) {
      this.#services.close();
      await this.#admin.close();
      const explained = await withPublishers(failure, this.#engine);
      this.#engine?.engine.close();
      throw explained;
    }
    await this.#kernelRoute.listening();
    const warning = openFilesWarning(this.#descriptorUse);
    if (warning !== undefined) this.#observer.warning("limits.open_files", warning);
    this.#prepareDataPlane(this.#configured);
    this.#orphans?.open();
    this.#engine?.events.open();
    this.#targets.open();
    this.#discovery?.open();
    this.#loadSpawn(this.#config);
  }

  /** Resolves when it is known whether the engine answers, or at once without an engine. */
  async engineKnown(): Promise<void> {
    await this.#engine?.events.known;
  }

  /**
   * Stops accepting, waits up to `shutdown.drain` for open connections, then stops the targets or leaves them running.
   * Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Kills all processes, including programs that are being started, and resets connections: for an exit without a drain. */
  kill(): void {
    this.#dataPlane.stop();
    this.#targets.kill();
    for (const workers of this.#host.busy) workers.kill();
    killStarting();
  }

  /**
   * Applies another configuration as a whole or not at all, and reports the outcome. Unchanged services, open connections
   * and listeners that stay in the configuration are not touched.
   *
   * @returns whether it was applied
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
      version: this.#options.build.version,
      ...(engine && { engine }),
      ...(this.#discovery && { label_problems: this.#discovery.problems }),
      data_plane: this.#dataPlane.view,
      ...bansStatus(this.#sharedAdmission.bans.list(Date.now())),
      unnamed: this.#targets.implicitTargets.map(({ view }) => unnamedStatus(view)),
      services: this.#configured.map((service) => {
        const live = this.#services.get(service.name);
        return serviceStatus(service, describeTarget(service.target), live?.status);
      }),
    };
  }

  /** Whether no target runs, starts or stops. */
  get areTargetsAsleep(): boolean {
    return this.#targets.areAsleep;
  }

  /** Returns the target of a running service. */
  targetOf(service: string): TargetSpec | undefined {
    return this.#services.get(service)?.service.target;
  }

  /** Name and address of the engine for messages; undefined if no engine is needed or it has not answered yet. */
  get engineDescription(): string | undefined {
    return this.#engine?.events.description;
  }

  get adminUrl(): string {
    return this.#admin.url;
  }

  async #close(): Promise<void> {
    const { targets, drainMs } = this.#config.shutdown;
    this.#services.close();
    await this.#discovery?.close();
    this.#engine?.pulls.close();
    await this.#orphans?.close();
    await Promise.all([
      this.#targets.close({ drainMs, targets }),
      ...[...this.#host.busy].map((workers) => workers.close(drainMs)),
      this.#services.drain(drainMs),
    ]);
    this.#dataPlane.drain();
    await this.#kernelRoute.close();
    await this.#services.end();
    await this.#dataPlane.close();
    this.#ident.close();
    await this.#admin.close();
    await this.#engine?.events.close();
    this.#engine?.engine.close();
  }

  #addMetrics(service: Service): void {
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
    });
  }

  /** @throws BindError, TargetError; then everything is as before */
  async #apply(next: Config): Promise<Changes> {
    const changes = changesBetween(this.#config, next);
    const { config } = changes;
    if (this.#engine === undefined && needsEngine(next)) {
      const message = "cannot add the first container service by a reload";
      throw new TargetError("invalid", message, { remedy: "restart wakeport" });
    }
    const commit = (): void => {
      this.#config = config;
      this.#targets.configure(config);
      this.#kernelRoute.configure(this.#sharedSettings);
      this.#targets.reconsiderOffload();
      this.#discovery?.configure(config);
    };
    const change = (): Promise<void> => this.#services.change(() => changes, config.shutdown.drainMs, commit);
    await this.#admin.move(config.admin, change).catch(async (error: unknown) => {
      throw error instanceof BindError ? await withPublishers(error, this.#engine) : error;
    });
    this.#loadSpawn(config);
    this.#prepareDataPlane(config.services);
    return changes;
  }

  #newDataPlane(): DataPlane {
    return new DataPlane({
      maxPipes: maxPipesOf(this.#options.openFiles),
      onProblem: (problem) => this.#observer.warning("relay.unavailable", withoutDataPlane(problem)),
      // An uncaught error ends the process, because the connections are lost.
      onLost: (error) => {
        throw error;
      },
    });
  }

  #newSlots(): Slots {
    return new Slots({
      limit: () => connectionLimitOf(this.#descriptorUse),
      what: "connections in total",
      reason: "process_limit",
      services: () => this.#services.size,
      onChange: (taken) => this.#dataPlane.countAll(taken),
    });
  }

  get #sharedSettings(): SharedSettings {
    return sharedSettings(this.#config.services, this.#config.log.userId);
  }

  /** Half of all slots: the other half is shared fairly between services and sources. */
  get #offloadLimit(): number {
    if (sharedNeeds(this.#sharedSettings).length > 0) return 0;
    return Math.floor(connectionLimitOf(this.#descriptorUse) / 2);
  }

  #newAdmin(): AdminEndpoint {
    return new AdminEndpoint(this.#config.admin, {
      allowedHosts: () => this.#config.adminAllowedHosts,
      metrics: this.#metrics,
      status: () => this.status,
      open: (service, limit) => this.#services.openOf(service, limit),
      notReady: () => this.#engine && engineProblem(this.#engine),
    });
  }

  /** Starts the data plane before its first connection if a service requires it, so that a problem is reported at once. */
  #prepareDataPlane(services: readonly Service[]): void {
    if (services.some(({ enabled, relay }) => enabled && relay === "splice")) this.#dataPlane.prepare();
  }

  /** Loads posix_spawn if programs will be started: after the listeners are open, before the first client. */
  #loadSpawn(config: Config): void {
    if (this.#isSpawnLoaded || !config.services.some(startsPrograms)) return;
    this.#isSpawnLoaded = true;
    setImmediate(() => {
      const problem = loadPosixSpawn();
      if (problem !== undefined) this.#observer.warning("programs.fork", forkWarning(problem));
    });
  }

  get #descriptorUse(): DescriptorUse {
    const { openFiles, ownFiles } = this.#options;
    const { listeners } = this.#services;
    return { openFiles, ownFiles, listeners, targets: this.#targets.size, usesIdent: this.#config.log.userId };
  }
}

function needsEngine({ services, discover }: Config): boolean {
  const woken = services.filter(({ enabled }) => enabled).filter(isWoken);
  return discover !== undefined || woken.some(({ target }) => target.kind !== "process");
}

/** Whether the configuration cannot be applied, as opposed to a defect of wakeport. */
function isExpected(error: unknown): error is Error {
  return [ConfigError, NoConfigError, BindError, TargetError].some((kind) => error instanceof kind);
}

/** Returns the services whose containers wakeport creates, also if they are not enabled. */
function createdIn({ services }: Config): ReadonlySet<string> {
  return new Set(services.filter(({ target }) => target.kind === "created").map(({ name }) => name));
}
