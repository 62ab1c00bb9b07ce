/** The message and the fields of each log event. A message is a past participle or a present state. */
import { describeExit } from "../activation/errors.ts";
import type { ActivationReport, SleepReport, StateChange, StopFailure } from "../activation/reports.ts";
import { formatProgress } from "../docker/pull-progress.ts";
import type { PullReport } from "../docker/reports.ts";
import { sentenceOf } from "../errors.ts";
import type {
  ConnectionFacts,
  ConnectionOutcome,
  ConnectionReport,
  UnroutedReport,
  UserIdReport,
} from "../proxy/reports.ts";
import type { UnroutedReason } from "../proxy/unrouted.ts";
import type { DenialSummary, Observer, ReloadReport, UnroutedSummary } from "./observer.ts";

type LogEvent = (fields: object, message: string) => void;

/** The methods of a pino logger that write an event. */
export type Logger = Readonly<Record<"trace" | "debug" | "info" | "warn" | "error", LogEvent>>;

/** Returns an observer that logs each report. */
export function logObserver(log: Logger): Observer {
  return {
    state: (change) => logState(log, change),
    activation: (report) => logActivation(log, report),
    sleep: (report) => logSleep(log, report),
    keptAwake: ({ target, services, uses }) => {
      const message = `${subjectOf({ target, services })} is kept awake: ${uses.join("; ")}`;
      log.info({ event: "target.kept_awake", target, services, uses }, message);
    },
    stopFailed: (report) => logStopFailure(log, report),
    connectionOpened: (facts) => {
      const { service, client, pid } = facts;
      const fields = { event: "connection.opened", ...connectionFields(facts), ...(pid !== undefined && { pid }) };
      log.debug(fields, `${service}: ${client} is served`);
    },
    connection: (report) => logConnection(log, report),
    forwarded: ({ service, connections }) => {
      const message = `${service}: ${connections} new connections forwarded by the kernel`;
      log.debug({ event: "connection.forwarded", service, connections }, message);
    },
    denials: (summary) => logDenials(log, summary),
    unrouted: (report) => logUnrouted(log, report),
    moreUnrouted: (summary) => logMoreUnrouted(log, summary),
    banned: ({ service, source, until }) => {
      const end = new Date(until).toISOString();
      log.warn({ event: "source.banned", service, source, until: end }, `${source} banned until ${end} (${service})`);
    },
    userId: (report) => logUserId(log, report),
    engineCall: ({ operation, code, durationMs }) => {
      const fields = { event: "engine.call", operation, code, duration_ms: round(durationMs) };
      log.trace(fields, `engine: ${operation} ${code}`);
    },
    engineUp: (description) => log.info({ event: "engine.up" }, `engine connected: ${description}`),
    engineDown: (error) => {
      log.error({ event: "engine.down", error: error.message, ...remedyOf(error) }, sentenceOf(error));
    },
    eventsReconnected: () =>
      log.debug({ event: "engine.events_reconnected" }, "event stream of the engine reconnected"),
    pull: (report) => logPull(log, report),
    orphanRemoved: (container, service) => {
      const message = `${container} removed: service "${service}", for which it was created, is no longer configured`;
      log.info({ event: "container.orphan_removed", container, service }, message);
    },
    reload: (report) => logReload(log, report),
    output: (target, line) => log.info({ event: "target.output", target }, `${target} | ${line}`),
    warning: (event, message) => log.warn({ event }, message),
  };
}

function logState(log: Logger, { target, services, from, to, event, wokenBy }: StateChange): void {
  log.debug(
    { event: "target.state", target, services, from, to, cause: event },
    `${target}: ${from} → ${to} (${event})`,
  );
  const subject = subjectOf({ target, services });
  if (to === "starting") {
    const { client, holder } = wokenBy ?? {};
    const fields = client ?? (holder !== undefined && { dependent: holder });
    const cause = client === undefined ? holder : `${client.client} through ${client.service}`;
    const starting = `is starting${cause === undefined ? "" : ` for ${cause}`}`;
    const message = event === "found" ? "is already running, waiting until it is ready" : starting;
    log.info({ event: "target.starting", target, services, ...fields }, `${subject} ${message}`);
  }
  if (to === "stopping" && from !== "starting") {
    log.info({ event: "target.stopping", target, services, cause: event }, `${subject} is stopping (${event})`);
  }
}

function logActivation(log: Logger, report: ActivationReport): void {
  const { target, services, outcome, adopted, durationMs, startMs, error, exit, lastLines, cooldownMs } = report;
  const fields = {
    target,
    services,
    outcome,
    adopted,
    duration_ms: round(durationMs),
    ...(startMs !== undefined && { start_ms: round(startMs) }),
  };
  const subject = subjectOf(report);
  if (outcome === "ready") {
    const state = adopted ? "was already running and is ready" : "is ready";
    log.info({ event: "target.ready", ...fields }, `${subject} ${state} after ${seconds(durationMs)}`);
    return;
  }
  if (outcome === "cancelled") {
    log.info({ event: "target.cancelled", ...fields }, `${subject}: start cancelled`);
    return;
  }
  const message = error === undefined ? outcome : withoutName(sentenceOf(error), target);
  const next = cooldownMs === undefined ? "" : `; next attempt in ${seconds(cooldownMs)} at the earliest`;
  const details = {
    error: error?.message,
    ...remedyOf(error),
    ...(exit?.code !== undefined && { exit_code: exit.code }),
    ...(exit?.signal !== undefined && { exit_signal: exit.signal }),
    ...(exit?.oomKilled && { oom: true }),
    ...(lastLines && { last_lines: lastLines }),
    ...(cooldownMs !== undefined && { cooldown_ms: cooldownMs }),
  };
  log.error(
    { event: "target.failed", ...fields, ...details },
    `${subject} failed to start: ${message}${next}${outputOf(lastLines)}`,
  );
}

/** `ftp: container vsftpd` */
function subjectOf({ target, services }: { readonly target: string; readonly services: readonly string[] }): string {
  return services.length === 0 ? target : `${services.join(", ")}: ${target}`;
}

function withoutName(message: string, name: string): string {
  return message.startsWith(`${name} `) ? message.slice(name.length + 1) : message;
}

function outputOf(lastLines: readonly string[] = []): string {
  return lastLines.length === 0 ? "" : `; last output: ${lastLines.join(" ⏎ ")}`;
}

function logStopFailure(log: Logger, { target, services, error, retryMs }: StopFailure): void {
  const next = retryMs > 0 ? `; retrying in ${seconds(retryMs)}, repeated failures are not logged` : "";
  log.error(
    { event: "target.stop_failed", target, services, error: error.message, ...remedyOf(error) },
    `${subjectOf({ target, services })} could not be stopped: ${sentenceOf(error)}${next}`,
  );
}

function logPull(log: Logger, { image, stage, durationMs, doneBytes, totalBytes, error }: PullReport): void {
  const fields = { image, duration_ms: round(durationMs), done_bytes: doneBytes, total_bytes: totalBytes };
  if (stage === "failed") {
    const message = error === undefined ? "failed" : sentenceOf(error);
    log.error({ event: "image.pull_failed", ...fields, error: error?.message, ...remedyOf(error) }, message);
  } else if (stage === "done") {
    log.info({ event: "image.pulled", ...fields }, `image ${image} pulled in ${seconds(durationMs)}`);
  } else {
    const progress = formatProgress(doneBytes, totalBytes);
    log.info({ event: "image.pulling", ...fields }, `pulling image ${image}${progress === "" ? "" : `: ${progress}`}`);
  }
}

function logReload(log: Logger, report: ReloadReport): void {
  if (report.outcome === "failure") {
    const message = `reload failed, the previous configuration stays in effect: ${sentenceOf(report.error)}`;
    log.error({ event: "config.reload_failed", error: report.error.message, ...remedyOf(report.error) }, message);
    return;
  }
  const { outcome: _outcome, ...fields } = report;
  const { added, removed, changed, unchanged, afterRestart } = report;
  const counts = `${added.length} added, ${removed.length} removed, ${changed.length} changed, ${unchanged} unchanged`;
  log.info({ event: "config.reloaded", ...fields }, `configuration reloaded: ${counts}`);
  if (afterRestart.length === 0) return;
  const keys = afterRestart.join(", ");
  log.warn(
    { event: "config.needs_restart", keys: afterRestart },
    `these changes need a restart to take effect: ${keys}`,
  );
}

function logSleep(log: Logger, report: SleepReport): void {
  const { target, services, reason, action, durationMs, exit, lastLines } = report;
  const subject = subjectOf(report);
  const fields = { event: "target.asleep", target, services, reason, action, duration_ms: round(durationMs) };
  if (reason === "crash") {
    log.error(
      { ...fields, exit_code: exit?.code, exit_signal: exit?.signal, ...(lastLines && { last_lines: lastLines }) },
      `${subject} crashed${describeExit(exit ?? {})}${outputOf(lastLines)}`,
    );
  } else if (reason === "external" && exit?.code === 0 && exit.stopRequested !== true) {
    log.info({ ...fields, exit_code: exit.code }, `${subject} exited with code 0`);
  } else if (reason === "external") {
    log.warn({ ...fields, exit_code: exit?.code }, `${subject} was stopped by another process`);
  } else log.info(fields, `${subject} is ${action === "pause" ? "paused" : "asleep"} (${reason})`);
}

/** The client was not served because of wakeport or the target. */
const failures: ReadonlySet<ConnectionOutcome> = new Set(["start_failed", "start_timeout", "dial_failed"]);

function logConnection(log: Logger, report: ConnectionReport): void {
  const { service, client, outcome, start, waitMs, durationMs, bytesIn, bytesOut, end, error } = report;
  const { pid, exit, reason, wake } = report;
  const fields = {
    event: "connection.closed",
    ...connectionFields(report),
    outcome,
    start,
    duration_ms: round(durationMs),
    ...(pid !== undefined && { pid }),
    ...(exit?.code !== undefined && { exit_code: exit.code }),
    ...(exit?.signal !== undefined && { exit_signal: exit.signal }),
    ...(waitMs !== undefined && { wait_ms: round(waitMs) }),
    ...(wake && {
      accept_ms: round(wake.acceptMs),
      dial_ms: round(wake.dialMs),
      first_byte_ms: round(wake.firstByteMs),
    }),
    bytes_in: bytesIn,
    bytes_out: bytesOut,
    ...(end !== undefined && { end }),
    ...(reason !== undefined && { reason }),
    ...(error !== undefined && { error: error.message }),
    ...remedyOf(error),
  };
  const waited = waitMs === undefined ? "" : `, waited ${seconds(waitMs)} (${start})`;
  const transferred =
    outcome === "relayed" ? `, ${bytesIn} bytes in, ${bytesOut} out${end === "clean" ? "" : `, ${end}`}` : "";
  const cause = error === undefined || outcome === "client_gone" ? "" : `: ${sentenceOf(error)}`;
  const result = end === "page" ? "received the waiting page for" : `${outcome} in`;
  const message = `${service}: ${client} ${result} ${seconds(durationMs)}${waited}${transferred}${cause}`;
  if (end === "probe") log.debug(fields, message);
  else if (failures.has(outcome)) log.warn(fields, message);
  else log.info(fields, message);
}

function logDenials(log: Logger, { service, reason, count, overMs }: DenialSummary): void {
  const fields = { event: "connection.denials", service, reason, count, over_ms: round(overMs) };
  log.info(fields, `${service}: ${count} more clients denied within ${seconds(overMs)} (${reason})`);
}

function connectionFields({ service, id, client, listener }: ConnectionFacts): object {
  return { service, conn: id, client, listener };
}

function logUnrouted(log: Logger, { listener, client, error, durationMs, name, received }: UnroutedReport): void {
  const { reason, message } = error;
  const fields = {
    event: "client.unrouted",
    listener,
    client,
    reason,
    duration_ms: round(durationMs),
    ...(name !== undefined && { name }),
    ...(received !== undefined && { received }),
    error: message,
  };
  const data = received === undefined ? "" : `: "${received}"`;
  const level = unroutedLevel(reason, received === undefined);
  log[level](fields, `${listener}: ${client} not routed (${reason}): ${message}${data}`);
}

function logMoreUnrouted(log: Logger, { listener, reason, count, overMs }: UnroutedSummary): void {
  const fields = { event: "client.more_unrouted", listener, reason, count, over_ms: round(overMs) };
  const message = `${listener}: ${count} more clients not routed within ${seconds(overMs)} (${reason})`;
  log[unroutedLevel(reason)](fields, message);
}

/** Port scans and health checks send no data, and browsers open spare connections in advance. */
function unroutedLevel(reason: UnroutedReason, isSilent = false): "debug" | "info" {
  return reason === "client_gone" || (reason === "timeout" && isSilent) ? "debug" : "info";
}

function logUserId(log: Logger, report: UserIdReport): void {
  const { service, client, answer, failure } = report;
  const fields = { event: "connection.user_id", ...connectionFields(report) };
  if (answer === undefined) {
    log.debug({ ...fields, error: failure }, `${service}: no identity of ${client}: ${failure}`);
    return;
  }
  // The answer is `SYSTEM : USER`. The user may contain a colon.
  const [, system = "", user = ""] = /^(.*?)\s*:\s*(.*)$/s.exec(answer) ?? [];
  log.info({ ...fields, system, user }, `${service}: identity of ${client}: ${answer}`);
}

function remedyOf(error: Error | undefined): { remedy?: string } {
  const remedy: unknown = error !== undefined && "remedy" in error ? error.remedy : undefined;
  return typeof remedy === "string" ? { remedy } : {};
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
