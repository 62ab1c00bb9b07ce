/** The life of the running program: start, reloads, shutdown. */
import type { ServiceStatus } from "../admin/api.ts";
import type { Config } from "../config/config.ts";
import { Daemon } from "../daemon/daemon.ts";
import { printableJson } from "../net/escape.ts";
import { ThrottledDenials } from "../telemetry/denial-throttle.ts";
import { isJson, isPretty, type Log, openLog } from "../telemetry/log.ts";
import { logObserver } from "../telemetry/log-messages.ts";
import { fanOut, type Observer, observer } from "../telemetry/observer.ts";
import { type XinetdTarget, xinetdObserver } from "../telemetry/xinetd-log.ts";
import { exposedSocket } from "./check/exposed-socket.ts";
import { formatPlan } from "./check/plan.ts";
import type { Context } from "./command.ts";
import { freeMemory } from "./free-memory.ts";

/** Deadline for the engine's first answer before the plan is printed. */
const ENGINE_ANSWER_MS = 2_000;
/** Time from the start, or from the sleep of the last target, to the collection of garbage, in milliseconds. */
const COLLECT_AFTER_MS = 1_000;

interface ServeOptions {
  /** Reads the configuration again. */
  readonly read: () => Promise<Config>;
  /** Reasons so far why no child process could read the configuration. */
  readonly fallbacks: readonly string[];
  /** Printed after the plan. */
  readonly hint?: string;
}

/** Serves the configuration until the signal to end. @throws BindError, TargetError if it cannot be served */
export async function serve(config: Config, context: Context, options: ServeOptions): Promise<void> {
  const { isTerminal, pid } = context;
  const opened = await openLog({ ...config.log, isTerminal, pid });
  context.atExit(() => opened.writeNow());
  try {
    await serveWith(config, opened.log, context, options);
  } finally {
    await opened.close();
  }
}

async function serveWith(config: Config, log: Log, context: Context, options: ServeOptions): Promise<void> {
  const { version, revision, nodeVersion, shutdown } = context;
  const { read, fallbacks, hint } = options;
  const build = { version, revision, nodeVersion };
  let collection: NodeJS.Timeout | undefined;
  const collectLater = (): void => {
    clearTimeout(collection);
    collection = setTimeout(() => daemon.areTargetsAsleep && freeMemory(), COLLECT_AFTER_MS);
  };
  const logging = observerOf(config, log, (service) => daemon.targetOf(service));
  using throttled = new ThrottledDenials(fanOut(logging, observer({ sleep: collectLater })));
  const daemon: Daemon = new Daemon({ ...context, config, build, observer: throttled.observer });
  context.atExit(() => daemon.kill());
  const started = Promise.withResolvers<void>();
  let reloading = started.promise;
  context.onReload(() => {
    // Reloads run one after another, and not during the start or the shutdown.
    reloading = reloading.then(async () => {
      const next = shutdown.aborted ? undefined : await reload(daemon, log, read);
      if (next !== undefined) warnOfSocket(next);
      warnOfFallback();
    });
  });
  await daemon.open();
  let isWarned = false;
  const warnOfSocket = (now: Config): void => {
    const exposed = isWarned ? undefined : exposedSocket(now, context);
    if (exposed === undefined) return;
    isWarned = true;
    throttled.observer.warning("docker.socket_exposed", exposed);
  };
  warnOfSocket(config);
  let hasFallenBack = false;
  const warnOfFallback = (): void => {
    const [reason] = fallbacks;
    if (reason === undefined || hasFallenBack) return;
    hasFallenBack = true;
    throttled.observer.warning(
      "config.no_reader",
      `no child process reads the configuration, which takes 20 MB more memory: ${reason}`,
    );
  };
  warnOfFallback();
  context.onStatusRequest(() => logStatus(daemon, config, log, context));

  await Promise.race([daemon.engineKnown(), aborted(AbortSignal.timeout(ENGINE_ANSWER_MS)), aborted(shutdown)]);
  announce(daemon, config, log, context);
  if (hint !== undefined) context.printError(hint);
  started.resolve();
  collectLater();

  await aborted(shutdown);
  clearTimeout(collection);
  await reloading;
  log.info({ event: "shutdown.begin" }, "shutting down: new connections are refused");
  await daemon.close();
  log.info({ event: "shutdown.done" }, "stopped");
}

function observerOf(
  { log: { format } }: Config,
  log: Log,
  targetOf: (service: string) => XinetdTarget | undefined,
): Observer {
  const observer = logObserver(log);
  return format === "xinetd" ? xinetdObserver(log, targetOf, observer) : observer;
}

/**
 * Reports are logged at the new level. If the reload fails, the previous configuration stays in effect.
 *
 * @returns the new configuration, or undefined if the reload failed
 */
async function reload(daemon: Daemon, log: Log, read: ServeOptions["read"]): Promise<Config | undefined> {
  const { level } = log;
  let next: Config | undefined;
  const isDone = await daemon.reload(async () => {
    next = await read();
    log.level = next.log.level;
    return next;
  });
  if (!isDone) log.level = level;
  return isDone ? next : undefined;
}

/** Reports the services: a plan for people, one event for machines. */
function announce(daemon: Daemon, config: Config, log: Log, context: Context): void {
  const { services } = daemon.status;
  const engine = daemon.engineDescription;
  if (!isPretty({ ...config.log, isTerminal: context.isTerminal })) {
    const facts = {
      event: "started",
      version: context.version,
      config: config.source,
      services,
      admin: daemon.adminUrl,
    };
    log.info({ ...facts, ...(engine && { engine }) }, `wakeport ${context.version} serves ${servicesOf(services)}`);
    return;
  }
  const head = [`wakeport ${context.version}`, engine, `${config.source} (${servicesOf(services)})`]
    .filter(Boolean)
    .join("   ");
  context.print([head, ...formatPlan(services), `admin ${daemon.adminUrl}   (/metrics /healthz /readyz)`].join("\n"));
}

/** `2 services`, `1 service, 3 disabled` */
function servicesOf(services: readonly Pick<ServiceStatus, "state">[]): string {
  const disabled = services.filter(({ state }) => state === "disabled").length;
  const count = services.length - disabled;
  return `${count} ${count === 1 ? "service" : "services"}${disabled === 0 ? "" : `, ${disabled} disabled`}`;
}

/** Logs the report of `/api/v1/services`, as xinetd logs its state on SIGUSR1. */
function logStatus({ status }: Daemon, config: Config, log: Log, { isTerminal }: Context): void {
  if (isJson({ ...config.log, isTerminal })) log.info({ event: "state", ...status }, "status requested by SIGUSR2");
  else log.info({ event: "state" }, `status: ${printableJson(JSON.stringify(status))}`);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
