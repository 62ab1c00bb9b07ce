/** What happens, for people and for log stores: one line each, with a stable `event` name. Or as xinetd told it. */
import { constants, fstatSync, openSync } from "node:fs";
import pino from "pino";
import pretty from "pino-pretty";
import { describeExit } from "../activation/errors.ts";
import type { ActivationReport, SleepReport, StateChange, StopFailure } from "../activation/reports.ts";
import { within } from "../async/wait.ts";
import type { LogFormat, LogLevel } from "../config/config.ts";
import { formatProgress } from "../docker/pull-progress.ts";
import type { PullReport } from "../docker/reports.ts";
import { sentenceOf } from "../errors.ts";
import { printable, printableJson, printableLines } from "../net/escape.ts";
import type { ConnectionOutcome, ConnectionReport, UnroutedReport, UserIdReport } from "../proxy/reports.ts";
import type { UnroutedReason } from "../proxy/unrouted.ts";
import type { Observer, ReloadReport } from "./observer.ts";
import { messageLines, type XinetdLogOptions, xinetdObserver } from "./xinetd-log.ts";

export type Log = pino.Logger;

/** A log with its way out. */
export interface OpenLog {
  readonly log: Log;
  /** Logs what happens. xinetd's form is for who knows what serves the clients of a service. */
  readonly observer: (servedBy: XinetdLogOptions["servedBy"]) => Observer;
  /** Waits, for a short time, until what was logged is written. */
  close(): Promise<void>;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly isTerminal: boolean;
  /** Of this process: xinetd's form names it. */
  readonly pid: number;
}

/** Whether people read the log on a terminal, rather than a machine. */
export function isPretty({ format, isTerminal }: Pick<LogOptions, "format" | "isTerminal">): boolean {
  return format === "pretty" || (format === "auto" && isTerminal);
}

/** Whether machines read the log, one object a line. */
export function isJson(options: Pick<LogOptions, "format" | "isTerminal">): boolean {
  return !isPretty(options) && options.format !== "xinetd";
}

/** What may wait for a reader of the log that does not keep up, in bytes; lines beyond it are dropped. */
const MAX_BACKLOG = 1024 * 1024;
const CLOSE_MS = 1_000;
const STDOUT = 1;

/** Writes to standard output. A reader that is slow, or gone, costs lines of the log, never the relaying. */
export function openLog(options: LogOptions): OpenLog {
  const shape = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const output = pino.destination({ dest: standardOutput(), sync: false, maxLength: MAX_BACKLOG });
  output.on("error", () => {});
  // pino calls this when the process ends. It never returns when the reader is gone; we wait in `close` instead.
  output.flushSync = () => {};
  const log = pino(shape, formOf(output, options));
  const close = async (): Promise<void> => {
    log.level = "silent";
    const ended = new Promise<void>((resolve) => output.once("close", resolve));
    output.end();
    await within(CLOSE_MS, "the end of the log", ended).catch(() => {});
  };
  return { log, observer: (servedBy) => observerOf(log, output, options, servedBy), close };
}

/** Standard output; where it is a pipe, one that never waits: Node cannot end as long as a write waits for its reader. */
function standardOutput(): number {
  try {
    if (fstatSync(STDOUT).isFIFO()) return openSync("/proc/self/fd/1", constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // The reader is gone, or there is no /proc: then as it is.
  }
  return STDOUT;
}

/** What makes the log's lines on their way to `output`. */
function formOf(output: pino.DestinationStream, options: LogOptions): pino.DestinationStream {
  if (isPretty(options)) return forPeople(output, options.isTerminal);
  if (options.format !== "xinetd") return { write: (line) => output.write(printableJson(line)) };
  return {
    write: (line) => {
      const { level, msg }: { level: LogLevel; msg: string } = JSON.parse(line);
      for (const message of messageLines(msg, level, options.pid)) output.write(`${message}\n`);
    },
  };
}

function observerOf(
  log: Log,
  output: pino.DestinationStream,
  { format }: LogOptions,
  servedBy: XinetdLogOptions["servedBy"],
): Observer {
  const others = logObserver(log);
  if (format !== "xinetd") return others;
  const write = (line: string): void => {
    if (log.isLevelEnabled("info")) output.write(`${line}\n`);
  };
  return xinetdObserver({ write, servedBy, others });
}

/** Events whose message has several lines. Quoted text in them is a single line. */
const severalLines: ReadonlySet<string> = new Set(["config.reload_failed"]);

function forPeople(destination: pino.DestinationStream, colorize: boolean): pino.DestinationStream {
  const messageFormat = ({ event, msg }: Record<string, unknown>): string => {
    return severalLines.has(String(event)) ? printableLines(String(msg)) : printable(String(msg));
  };
  return pretty({ destination, colorize, messageFormat, translateTime: "SYS:HH:MM:ss.l", hideObject: true });
}

/** An observer that logs. */
export function logObserver(log: Log): Observer {
  return {
    state: (change) => logState(log, change),
    activation: (report) => logActivation(log, report),
    sleep: (report) => logSleep(log, report),
    keptAwake: ({ target, services, uses }) => {
      const words = `${subjectOf({ target, services })} is kept awake: ${uses.join("; ")}`;
      log.info({ event: "target.kept_awake", target, services, uses }, words);
    },
    stopFailed: (report) => logStopFailure(log, report),
    connectionOpened: ({ service, id, client, listener, pid }) => {
      const facts = {
        event: "connection.opened",
        service,
        conn: id,
        client,
        listener,
        ...(pid !== undefined && { pid }),
      };
      log.debug(facts, `${service}: ${client} is being served`);
    },
    connection: (report) => logConnection(log, report),
    denials: ({ service, reason, count, overMs }) => {
      const facts = { event: "connection.denials", service, reason, count, over_ms: round(overMs) };
      log.info(facts, `${service}: ${count} more refused within ${seconds(overMs)} (${reason})`);
    },
    unrouted: (report) => logUnrouted(log, report),
    moreUnrouted: ({ listener, reason, count, overMs }) => {
      const facts = { event: "client.more_unrouted", listener, reason, count, over_ms: round(overMs) };
      log[unroutedLevel(reason)](facts, `${listener}: ${count} more led nowhere within ${seconds(overMs)} (${reason})`);
    },
    banned: ({ service, source, until }) => {
      const end = new Date(until).toISOString();
      log.warn(
        { event: "source.banned", service, source, until: end },
        `${source} is banned until ${end} (${service})`,
      );
    },
    userId: (report) => logUserId(log, report),
    engineCall: ({ operation, code, durationMs }) => {
      log.trace(
        { event: "engine.call", operation, code, duration_ms: round(durationMs) },
        `engine: ${operation} ${code}`,
      );
    },
    engineUp: (description) => log.info({ event: "engine.up" }, `the engine answers: ${description}`),
    engineDown: (error) => {
      log.error({ event: "engine.down", error: error.message, ...remedyOf(error) }, sentenceOf(error));
    },
    eventsReconnected: () => log.debug({ event: "engine.events_reconnected" }, "the engine's event stream is back"),
    pull: (report) => logPull(log, report),
    orphanRemoved: (container, service) => {
      const why = `it was made for service "${service}", which the configuration does not have any more`;
      log.info({ event: "container.orphan_removed", container, service }, `${container} was removed: ${why}`);
    },
    reload: (report) => logReload(log, report),
    output: (target, line) => log.info({ event: "target.output", target }, `${target} | ${line}`),
    warning: (event, message) => log.warn({ event }, message),
  };
}

function logState(log: Log, { target, services, from, to, event, wokenBy }: StateChange): void {
  log.debug(
    { event: "target.state", target, services, from, to, cause: event },
    `${target}: ${from} → ${to} (${event})`,
  );
  const subject = subjectOf({ target, services });
  if (to === "starting") {
    const { client, holder } = wokenBy ?? {};
    const cause = client ?? (holder !== undefined && { dependent: holder });
    const waker = client === undefined ? holder : `${client.client} through ${client.service}`;
    const starting = `is starting${waker === undefined ? "" : ` for ${waker}`}`;
    const words = event === "found" ? "was found running, waiting until it is ready" : starting;
    log.info({ event: "target.starting", target, services, ...cause }, `${subject} ${words}`);
  }
  if (to === "stopping" && from !== "starting") {
    log.info({ event: "target.stopping", target, services, cause: event }, `${subject} is going to sleep (${event})`);
  }
}

function logActivation(log: Log, report: ActivationReport): void {
  const { target, services, outcome, adopted, durationMs, startMs, error, exit, lastLines, cooldownMs } = report;
  const facts = {
    target,
    services,
    outcome,
    adopted,
    duration_ms: round(durationMs),
    ...(startMs !== undefined && { start_ms: round(startMs) }),
  };
  const subject = subjectOf(report);
  if (outcome === "ready") {
    const how = adopted ? "was running already and answers" : "is ready";
    log.info({ event: "target.ready", ...facts }, `${subject} ${how} after ${seconds(durationMs)}`);
    return;
  }
  if (outcome === "cancelled") {
    log.info({ event: "target.cancelled", ...facts }, `${subject}: the start was cancelled`);
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
    { event: "target.failed", ...facts, ...details },
    `${subject} failed to start: ${message}${next}${outputOf(lastLines)}`,
  );
}

/** The subject of a message, with the names of its services: `ftp: container vsftpd`. */
function subjectOf({ target, services }: { readonly target: string; readonly services: readonly string[] }): string {
  return services.length === 0 ? target : `${services.join(", ")}: ${target}`;
}

function withoutName(message: string, name: string): string {
  return message.startsWith(`${name} `) ? message.slice(name.length + 1) : message;
}

function outputOf(lastLines: readonly string[] = []): string {
  return lastLines.length === 0 ? "" : `; last output: ${lastLines.join(" ⏎ ")}`;
}

function logStopFailure(log: Log, { target, services, error, retryMs }: StopFailure): void {
  const next = retryMs > 0 ? `; retrying in ${seconds(retryMs)}, repeated failures are not logged` : "";
  log.error(
    { event: "target.stop_failed", target, services, error: error.message, ...remedyOf(error) },
    `${subjectOf({ target, services })} could not be stopped: ${sentenceOf(error)}${next}`,
  );
}

function logPull(log: Log, { image, stage, durationMs, doneBytes, totalBytes, error }: PullReport): void {
  const facts = { image, duration_ms: round(durationMs), done_bytes: doneBytes, total_bytes: totalBytes };
  if (stage === "failed") {
    const message = error === undefined ? "failed" : sentenceOf(error);
    log.error({ event: "image.pull_failed", ...facts, error: error?.message, ...remedyOf(error) }, message);
  } else if (stage === "done") {
    log.info({ event: "image.pulled", ...facts }, `image ${image} is here after ${seconds(durationMs)}`);
  } else {
    const words = formatProgress(doneBytes, totalBytes);
    const far = words === "" ? "" : `: ${words}`;
    log.info({ event: "image.pulling", ...facts }, `image ${image} is being pulled${far}`);
  }
}

function logReload(log: Log, report: ReloadReport): void {
  if (report.outcome === "failure") {
    const message = `the configuration was not read anew, the one before goes on: ${sentenceOf(report.error)}`;
    log.error({ event: "config.reload_failed", error: report.error.message, ...remedyOf(report.error) }, message);
    return;
  }
  const { outcome: _outcome, ...facts } = report;
  const { added, removed, changed, unchanged, afterRestart } = report;
  const counts = `${added.length} new, ${removed.length} gone, ${changed.length} changed, ${unchanged} as before`;
  log.info({ event: "config.reloaded", ...facts }, `the configuration was read anew: ${counts}`);
  if (afterRestart.length === 0) return;
  const keys = afterRestart.join(", ");
  log.warn(
    { event: "config.needs_restart", keys: afterRestart },
    `changed, but only a restart makes it count: ${keys}`,
  );
}

function logSleep(log: Log, report: SleepReport): void {
  const { target, services, reason, action, durationMs, exit, lastLines } = report;
  const subject = subjectOf(report);
  const facts = { event: "target.asleep", target, services, reason, action, duration_ms: round(durationMs) };
  if (reason === "crash") {
    log.error(
      { ...facts, exit_code: exit?.code, exit_signal: exit?.signal, ...(lastLines && { last_lines: lastLines }) },
      `${subject} crashed${describeExit(exit ?? {})}${outputOf(lastLines)}`,
    );
  } else if (reason === "external" && exit?.code === 0 && exit.wasAsked !== true) {
    log.info({ ...facts, exit_code: exit.code }, `${subject} exited with code 0`);
  } else if (reason === "external") {
    log.warn({ ...facts, exit_code: exit?.code }, `${subject} was stopped by another process`);
  } else log.info(facts, `${subject} is ${action === "pause" ? "paused" : "asleep"} (${reason})`);
}

/** A client got nothing, through no fault of its own. */
const failures: ReadonlySet<ConnectionOutcome> = new Set(["start_failed", "start_timeout", "dial_failed"]);

function logConnection(log: Log, report: ConnectionReport): void {
  const { service, id, client, listener, outcome, start, waitMs, durationMs, bytesIn, bytesOut, end, error } = report;
  const { pid, exit, reason } = report;
  const facts = {
    event: "connection.closed",
    service,
    conn: id,
    client,
    listener,
    outcome,
    start,
    duration_ms: round(durationMs),
    ...(pid !== undefined && { pid }),
    ...(exit?.code !== undefined && { exit_code: exit.code }),
    ...(exit?.signal !== undefined && { exit_signal: exit.signal }),
    ...(waitMs !== undefined && { wait_ms: round(waitMs) }),
    bytes_in: bytesIn,
    bytes_out: bytesOut,
    ...(end !== undefined && { end }),
    ...(reason !== undefined && { reason }),
    ...(error !== undefined && { error: error.message }),
    ...remedyOf(error),
  };
  const waited = waitMs === undefined ? "" : `, waited ${seconds(waitMs)} (${start})`;
  const moved =
    outcome === "relayed" ? `, ${bytesIn} bytes in, ${bytesOut} out${end === "clean" ? "" : `, ${end}`}` : "";
  const why = error === undefined || outcome === "client_gone" ? "" : `: ${sentenceOf(error)}`;
  const what = end === "page" ? "saw the waiting page for" : `${outcome} in`;
  const sentence = `${service}: ${client} ${what} ${seconds(durationMs)}${waited}${moved}${why}`;
  if (end === "probe") log.debug(facts, sentence);
  else if (failures.has(outcome)) log.warn(facts, sentence);
  else log.info(facts, sentence);
}

function logUnrouted(log: Log, { listener, client, error, durationMs, name, received: said }: UnroutedReport): void {
  const { reason, message } = error;
  const facts = {
    event: "client.unrouted",
    listener,
    client,
    reason,
    duration_ms: round(durationMs),
    ...(name !== undefined && { name }),
    ...(said !== undefined && { said }),
    error: message,
  };
  const words = `${listener}: ${client} was led nowhere (${reason}): ${message}${said === undefined ? "" : `: "${said}"`}`;
  log[unroutedLevel(reason, said === undefined)](facts, words);
}

/** Who looks whether a port is open comes and goes without a word, and browsers connect ahead of what they ask. */
function unroutedLevel(reason: UnroutedReason, isWordless = false): "debug" | "info" {
  return reason === "client_gone" || (reason === "timeout" && isWordless) ? "debug" : "info";
}

function logUserId(log: Log, { service, id, client, listener, answer, trouble }: UserIdReport): void {
  const facts = { event: "connection.user_id", service, conn: id, client, listener };
  if (answer === undefined) {
    log.debug({ ...facts, error: trouble }, `${service}: who ${client} is was not told: ${trouble}`);
    return;
  }
  // The kind of the system, then the user, who may have a colon.
  const [, system = "", user = ""] = /^(.*?)\s*:\s*(.*)$/s.exec(answer) ?? [];
  log.info({ ...facts, system, user }, `${service}: ${client} says that it is ${answer}`);
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
