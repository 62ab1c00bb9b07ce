/**
 * The log in the format of xinetd 2.3.15, for fail2ban's filters and scripts. Connections use xinetd's own lines; other
 * events use the form of xinetd's messages.
 */
import { constants } from "node:os";
import type { LogLevel } from "../config/config.ts";
import { printable } from "../net/escape.ts";
import type { DenialReason } from "../proxy/admission/denial.ts";
import type { ConnectionFacts, ConnectionReport } from "../proxy/reports.ts";
import type { Logger } from "./log-messages.ts";
import type { Observer } from "./observer.ts";

/** The target of a service. A TargetSpec of the configuration has these keys. */
export interface XinetdTarget {
  readonly kind: string;
  readonly builtin?: string;
}

export interface XinetdRecord {
  readonly event?: string;
  readonly level: LogLevel;
  readonly msg: string;
}

const XINETD_EVENT = "xinetd";

const LEVELS: Readonly<Record<LogLevel, string>> = {
  trace: "DEBUG",
  debug: "DEBUG",
  info: "INFO",
  warn: "WARNING",
  error: "ERROR",
  silent: "DEBUG",
};

/** Builtins that xinetd serves without a process. It logs only their start. */
const FORKLESS: ReadonlySet<string> = new Set(["daytime", "time"]);

/** xinetd's text for an unknown source. */
const NO_ADDRESS = "<no address>";

/** Reasons with another name in xinetd, or without an equivalent. */
const REASONS: Readonly<Partial<Record<DenialReason, string>>> = {
  banned: "address",
  rate: "connections per second",
  waiting_limit: "service_limit",
};

/** xinetd's reason for an accepted client whose target could not be started or reached. */
const FORK = "fork";

/**
 * Returns an observer that logs xinetd's lines about connections and passes other reports on.
 *
 * @param targetOf returns undefined for services of labels
 */
export function xinetdObserver(
  log: Pick<Logger, "info">,
  targetOf: (service: string) => XinetdTarget | undefined,
  other: Observer,
): Observer {
  const write = (line: string): void => log.info({ event: XINETD_EVENT }, line);
  return {
    ...other,
    connectionOpened: (facts) => {
      // xinetd logs a client of a sensor only as denied.
      write(targetOf(facts.service)?.kind === "sensor" ? failLine(facts, "address") : startLine(facts));
    },
    connection: (report) => {
      for (const line of endLines(report, targetOf(report.service))) write(line);
      if (isUnknownToXinetd(report)) other.connection(report);
    },
    userId: (report) => {
      if (report.answer === undefined) other.userId(report);
      else write(`USERID: ${report.service} ${printable(report.answer)}`);
    },
  };
}

/** Returns the lines of one record: a line of xinetdObserver(), or a message in the form of xinetd's messages. */
export function xinetdLines({ event, level, msg }: XinetdRecord, pid: number, now: Date = new Date()): string[] {
  if (event === XINETD_EVENT) return [`${timestamp(now)}: ${msg}`];
  const head = `${timestamp(now)} wakeport[${pid}]: ${LEVELS[level]}: `;
  return msg.split("\n").map((line) => head + printable(line));
}

/** `START: ftp pid=28673 from=127.0.0.1` */
function startLine({ service, pid = 0, client }: ConnectionFacts): string {
  return `START: ${service} pid=${pid} from=${addressOf(client)}`;
}

/** `FAIL: ftp service_limit from=127.0.0.1` */
function failLine({ service, client }: ConnectionFacts, reason: string): string {
  return `FAIL: ${service} ${reason} from=${addressOf(client)}`;
}

function endLines(report: ConnectionReport, target: XinetdTarget | undefined): string[] {
  const { outcome, reason, waitMs, end } = report;
  if (reason !== undefined) return [failLine(report, REASONS[reason] ?? reason)];
  if (outcome === "client_gone" || target?.kind === "sensor" || end === "probe") return [];
  if (waitMs === undefined) return [failLine(report, FORK)];
  if (target?.kind === "builtin" && FORKLESS.has(target.builtin ?? "")) return [];
  return outcome === "relayed" ? [trafficLine(report), exitLine(report)] : [exitLine(report)];
}

/** `EXIT: ftp status=2 pid=28673 duration=2(sec)`. The status is 0 if no process served only this client. */
function exitLine({ service, pid = 0, durationMs, waitMs = 0, exit = {} }: ConnectionReport): string {
  const how = exit.signal === undefined ? `status=${exit.code ?? 0}` : `signal=${signalNumber(exit.signal)}`;
  return `EXIT: ${service} ${how} pid=${pid} duration=${Math.round((durationMs - waitMs) / 1000)}(sec)`;
}

/** `TRAFFIC: redir in=5(bytes) out=0(bytes)` */
function trafficLine({ service, bytesIn, bytesOut }: ConnectionReport): string {
  return `TRAFFIC: ${service} in=${bytesIn}(bytes) out=${bytesOut}(bytes)`;
}

/** Returns whether xinetd's lines lack the result of the connection. */
function isUnknownToXinetd({ outcome, reason, end }: ConnectionReport): boolean {
  return end === "probe" || (reason === undefined && outcome !== "relayed" && outcome !== "served");
}

/** Removes the port: `[::1]:5000` becomes `::1`. */
function addressOf(client: string): string {
  const address = client.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return address === "unknown" ? NO_ADDRESS : address;
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return numbers[name] ?? 0;
}

/** `26/3/1@07:32:19`, in local time: xinetd pads neither the month nor the day. */
function timestamp(now: Date): string {
  const date = `${twoDigits(now.getFullYear() % 100)}/${now.getMonth() + 1}/${now.getDate()}`;
  return `${date}@${[now.getHours(), now.getMinutes(), now.getSeconds()].map(twoDigits).join(":")}`;
}

function twoDigits(count: number): string {
  return String(count).padStart(2, "0");
}
