/** The output of the log: one line per event, as JSON, as text for people, or in xinetd's format. */
import { constants, fstatSync, openSync } from "node:fs";
import pino from "pino";
import pretty from "pino-pretty";
import { within } from "../async/wait.ts";
import type { LogFormat, LogLevel } from "../config/config.ts";
import { printable, printableJson, printableLines } from "../net/escape.ts";
import { xinetdLines } from "./xinetd-log.ts";

export type Log = pino.Logger;

export interface OpenLog {
  readonly log: Log;
  /** Waits at most 1 s until all events are written. */
  close(): Promise<void>;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly isTerminal: boolean;
  /** The process id in xinetd's format. */
  readonly pid: number;
}

type FormatOptions = Pick<LogOptions, "format" | "isTerminal">;

/** Returns whether the log is text for people. */
export function isPretty({ format, isTerminal }: FormatOptions): boolean {
  return format === "pretty" || (format === "auto" && isTerminal);
}

/** Returns whether each line is a JSON object. */
export function isJson(options: FormatOptions): boolean {
  return !isPretty(options) && options.format !== "xinetd";
}

/** Bytes that wait for a slow reader. Further lines are dropped. */
const MAX_BACKLOG = 1024 * 1024;
const CLOSE_MS = 1_000;
const STDOUT = 1;

/** Logs to standard output. A slow or missing reader loses lines but never delays the relay. */
export function openLog(options: LogOptions): OpenLog {
  const shape = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const output = pino.destination({ dest: standardOutput(), sync: false, maxLength: MAX_BACKLOG });
  output.on("error", () => {});
  // pino calls this at exit, and it does not return if the reader is gone. `close` waits instead.
  output.flushSync = () => {};
  const log = pino(shape, formatted(output, options));
  const close = async (): Promise<void> => {
    log.level = "silent";
    const ended = new Promise<void>((resolve) => output.once("close", resolve));
    output.end();
    await within(CLOSE_MS, "the end of the log", ended).catch(() => {});
  };
  return { log, close };
}

/** A pipe is opened again without blocking: Node cannot exit while a write waits for a reader. */
function standardOutput(): number {
  try {
    if (fstatSync(STDOUT).isFIFO()) return openSync("/proc/self/fd/1", constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // The reader is gone, or /proc is not mounted.
  }
  return STDOUT;
}

function formatted(output: pino.DestinationStream, options: LogOptions): pino.DestinationStream {
  if (isPretty(options)) return prettyOutput(output, options.isTerminal);
  if (options.format !== "xinetd") return { write: (line) => output.write(printableJson(line)) };
  return {
    write: (line) => {
      for (const text of xinetdLines(JSON.parse(line), options.pid)) output.write(`${text}\n`);
    },
  };
}

/** Events with messages of several lines. Quoted text in them is a single line. */
const multilineEvents: ReadonlySet<string> = new Set(["config.reload_failed"]);

function prettyOutput(destination: pino.DestinationStream, colorize: boolean): pino.DestinationStream {
  const messageFormat = ({ event, msg }: Record<string, unknown>): string => {
    return multilineEvents.has(String(event)) ? printableLines(String(msg)) : printable(String(msg));
  };
  return pretty({ destination, colorize, messageFormat, translateTime: "SYS:HH:MM:ss.l", hideObject: true });
}
