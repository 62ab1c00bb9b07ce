/** The output of the log: one line per event, as JSON, as text for people, or in xinetd's format. */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import pino from "pino";
import { within } from "../async/wait.ts";
import type { LogFormat, LogLevel } from "../config/config.ts";
import { printable, printableJson, printableLines } from "../net/escape.ts";
import { xinetdLines } from "./xinetd-log.ts";

export type Log = pino.Logger;

export interface OpenLog {
  readonly log: Log;
  /** Writes the collected events at once, as many as the reader takes: for the exit of the process. */
  writeNow(): void;
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
/** Lines within this time are written together: each write wakes a thread of Node, which takes longer than a line. */
const BATCH_MS = 10;
/** Characters after which a batch is written at once. */
const BATCH_LENGTH = 16 * 1024;
const STDOUT = 1;

/** Logs to standard output. A slow or missing reader loses lines but never delays the relay. */
export async function openLog(options: LogOptions): Promise<OpenLog> {
  const shape = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const descriptor = standardOutput();
  const output = pino.destination({ dest: descriptor, sync: false, maxLength: MAX_BACKLOG });
  output.on("error", () => {});
  // pino calls this at exit, and it does not return if the reader is gone. `close` waits instead.
  output.flushSync = () => {};
  const batch = new Batch(output);
  const log = pino(
    shape,
    isPretty(options) ? await prettyOutput(output, options.isTerminal) : formatted(batch, options),
  );
  const close = async (): Promise<void> => {
    log.level = "silent";
    batch.flush();
    const ended = new Promise<void>((resolve) => output.once("close", resolve));
    output.end();
    await within(CLOSE_MS, "the end of the log", ended).catch(() => {});
  };
  return { log, writeNow: () => batch.writeNow(descriptor), close };
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

/** Collects lines and writes them together. */
class Batch implements pino.DestinationStream {
  readonly #output: pino.DestinationStream;
  #text = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(output: pino.DestinationStream) {
    this.#output = output;
  }

  write(line: string): void {
    this.#text += line;
    if (this.#text.length >= BATCH_LENGTH) return this.flush();
    this.#timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  flush(): void {
    const text = this.#take();
    if (text !== "") this.#output.write(text);
  }

  /** Writes to a descriptor, as many lines as it takes without a wait. */
  writeNow(fd: number): void {
    try {
      writeSync(fd, this.#take());
    } catch {
      // The reader is gone or slow.
    }
  }

  #take(): string {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const text = this.#text;
    this.#text = "";
    return text;
  }
}

function formatted(output: pino.DestinationStream, options: LogOptions): pino.DestinationStream {
  if (options.format !== "xinetd") return { write: (line) => output.write(printableJson(line)) };
  return {
    write: (line) => {
      for (const text of xinetdLines(JSON.parse(line), options.pid)) output.write(`${text}\n`);
    },
  };
}

/** Events with messages of several lines. Quoted text in them is a single line. */
const multilineEvents: ReadonlySet<string> = new Set(["config.reload_failed"]);

async function prettyOutput(destination: pino.DestinationStream, colorize: boolean): Promise<pino.DestinationStream> {
  const { default: pretty } = await import("pino-pretty");
  const messageFormat = ({ event, msg }: Record<string, unknown>): string => {
    return multilineEvents.has(String(event)) ? printableLines(String(msg)) : printable(String(msg));
  };
  return pretty({ destination, colorize, messageFormat, translateTime: "SYS:HH:MM:ss.l", hideObject: true });
}
