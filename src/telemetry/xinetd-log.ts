/**
 * The log as xinetd 2.3.15 writes it, for what reads that: fail2ban's filters and old scripts. Connections are told in
 * xinetd's own lines, field by field; all else that wakeport has to say is in the form of xinetd's messages.
 */

import { constants } from "node:os";
import type { LogLevel } from "../config/config.ts";
import { printable } from "../net/escape.ts";
import type { DenialReason } from "../proxy/admission/denial.ts";
import type { ConnectionFacts, ConnectionReport, UserIdReport } from "../proxy/reports.ts";
import type { Observer } from "./observer.ts";

/** What serves the clients of a service: a TargetSpec of the configuration has both. */
export interface ServedBy {
  readonly kind: string;
  /** Which one, where it is a builtin. */
  readonly builtin?: string;
}

export interface XinetdLogOptions {
  /** Takes a line without its end. */
  readonly write: (line: string) => void;
  /** What a service's clients get; undefined for a service of somebody's labels. */
  readonly servedBy: (service: string) => ServedBy | undefined;
  /** Tells everything else. */
  readonly others: Observer;
  /** The local time of a line. */
  readonly now?: () => Date;
}

const LEVELS: Readonly<Record<LogLevel, string>> = {
  trace: "DEBUG",
  debug: "DEBUG",
  info: "INFO",
  warn: "WARNING",
  error: "ERROR",
  silent: "DEBUG",
};

/** What xinetd answers without a process of its own: it notes their beginning only. */
const FORKLESS: ReadonlySet<string> = new Set(["daytime", "time"]);

/** xinetd's word for a source that is unknown. */
const NO_ADDRESS = "<no address>";

/** Reasons that xinetd calls otherwise, or does not know. */
const REASONS: Readonly<Partial<Record<DenialReason, string>>> = {
  banned: "address",
  rate: "connections per second",
  waiting_limit: "service_limit",
};

/** Of a client that was let in, but whose target could not be started or reached. */
const FORK = "fork";

/** An observer that writes xinetd's lines about connections, and leaves the rest to another. */
export function xinetdObserver({ write, servedBy, others, now = () => new Date() }: XinetdLogOptions): Observer {
  const say = (words: string): void => write(`${timestamp(now())}: ${words}`);
  return {
    ...others,
    connectionOpened: (facts) => {
      // Who falls into a trap is refused from then on, and xinetd says no more of it.
      say(servedBy(facts.service)?.kind === "sensor" ? failLine(facts, "address") : startLine(facts));
    },
    connection: (report) => {
      const target = servedBy(report.service);
      for (const line of endLines(report, target)) say(line);
      if (isUnknownToXinetd(report)) others.connection(report);
    },
    userId: (report) => {
      const line = userIdLine(report);
      if (line === undefined) others.userId(report);
      else say(line);
    },
  };
}

/** A message as xinetd's own ones look: `26/11/22@07:32:19 wakeport[7847]: ERROR: …`, for each line of it. */
export function messageLines(message: string, level: LogLevel, pid: number, now: Date = new Date()): string[] {
  const head = `${timestamp(now)} wakeport[${pid}]: ${LEVELS[level]}: `;
  return message.split("\n").map((line) => head + printable(line));
}

/** `START: ftp pid=28673 from=127.0.0.1` */
export function startLine({ service, pid = 0, client }: ConnectionFacts): string {
  return `START: ${service} pid=${pid} from=${addressOf(client)}`;
}

/** `FAIL: ftp service_limit from=127.0.0.1` */
function failLine({ service, client }: ConnectionFacts, why: string): string {
  return `FAIL: ${service} ${why} from=${addressOf(client)}`;
}

/** What there is to say when a connection is over, by what served it. */
export function endLines(report: ConnectionReport, target: ServedBy | undefined): string[] {
  const { outcome, reason, waitMs, end } = report;
  if (reason !== undefined) return [failLine(report, REASONS[reason] ?? reason)];
  if (outcome === "client_gone" || target?.kind === "sensor" || end === "probe") return [];
  if (waitMs === undefined) return [failLine(report, FORK)];
  if (target?.kind === "builtin" && FORKLESS.has(target.builtin ?? "")) return [];
  return outcome === "relayed" ? [trafficLine(report), exitLine(report)] : [exitLine(report)];
}

/** `EXIT: ftp status=2 pid=28673 duration=2(sec)`; what is no process of its own has ended with 0. */
function exitLine({ service, pid = 0, durationMs, waitMs = 0, exit = {} }: ConnectionReport): string {
  const how = exit.signal === undefined ? `status=${exit.code ?? 0}` : `signal=${signalNumber(exit.signal)}`;
  return `EXIT: ${service} ${how} pid=${pid} duration=${Math.round((durationMs - waitMs) / 1000)}(sec)`;
}

/** `TRAFFIC: redir in=5(bytes) out=0(bytes)` */
function trafficLine({ service, bytesIn, bytesOut }: ConnectionReport): string {
  return `TRAFFIC: ${service} in=${bytesIn}(bytes) out=${bytesOut}(bytes)`;
}

/** `USERID: ftp UNIX : alice`, or undefined where the client's machine did not tell. */
function userIdLine({ service, answer }: UserIdReport): string | undefined {
  return answer === undefined ? undefined : `USERID: ${service} ${printable(answer)}`;
}

/** Clients whose ends are worth more words than xinetd has for them. */
function isUnknownToXinetd({ outcome, reason, end }: ConnectionReport): boolean {
  return end === "probe" || (reason === undefined && outcome !== "relayed" && outcome !== "served");
}

/** Without the port: `[::1]:5000` is `::1`. */
function addressOf(client: string): string {
  const address = client.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return address === "unknown" ? NO_ADDRESS : address;
}

function signalNumber(name: string): number {
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return numbers[name] ?? 0;
}

/** `26/11/22@07:32:19`, in local time. */
function timestamp(now: Date): string {
  const date = [now.getFullYear() % 100, now.getMonth() + 1, now.getDate()].map(twoDigits).join("/");
  return `${date}@${[now.getHours(), now.getMinutes(), now.getSeconds()].map(twoDigits).join(":")}`;
}

function twoDigits(count: number): string {
  return String(count).padStart(2, "0");
}
