/**
 * The small services of every super-server, only over TCP: over UDP they would send answers to forged addresses.
 *
 * @see RFC 862 (echo), 863 (discard), 864 (chargen), 867 (daytime), 868 (time)
 */

import type net from "node:net";
import { Readable } from "node:stream";
import type { BuiltinName } from "../../config/config.ts";
import type { Meter } from "../../net/relay.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

/** Time in which a client may close after the last byte. */
const LINGER_MS = 2_000;

/** Seconds from 1900, the start of RFC 868's time, to 1970. */
const SECONDS_TO_1970 = 2_208_988_800;

const LINE_LENGTH = 72;
const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");

type Answer = (socket: net.Socket) => void;

const answers: Readonly<Record<BuiltinName, Answer>> = {
  echo: (socket) => socket.pipe(socket),
  discard: (socket) => onEnd(socket.resume(), () => socket.end()),
  daytime: (socket) => sendAll(socket, `${daytime(new Date())}\r\n`),
  time: (socket) => sendAll(socket, time(new Date())),
  chargen: (socket) => {
    onEnd(socket.resume(), () => socket.destroy());
    if (!socket.destroyed) Readable.from(lines()).pipe(socket);
  },
};

export class Builtin implements Handler {
  readonly isCold = false;
  readonly #answer: Answer;

  constructor(name: BuiltinName) {
    this.#answer = answers[name];
  }

  serve(client: Pick<Client, "socket" | "meters" | "opened">): Promise<Served> {
    const { socket, meters } = client;
    const { promise, resolve } = Promise.withResolvers<Served>();
    client.opened();
    let isReset = false;
    socket.once("error", () => {
      isReset = true;
    });
    socket.once("close", () => {
      clearInterval(interval);
      count();
      resolve({ outcome: "served", end: isReset ? "client_reset" : "clean" });
    });
    const count = counterOf(socket, meters);
    const interval = setInterval(count, 1_000);
    this.#answer(socket);
    return promise;
  }
}

/** Returns `22 NOV 2026 07:32:19 UTC`, in local time and the format of xinetd. */
export function daytime(now: Date): string {
  const options = { day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" } as const;
  const format = new Intl.DateTimeFormat("en-US", {
    ...options,
    second: "2-digit",
    hourCycle: "h23",
    timeZoneName: "short",
  });
  const parts = new Map(format.formatToParts(now).map(({ type, value }) => [type, value]));
  const [day, month, year, zone] = ["day", "month", "year", "timeZoneName"].map((type) => parts.get(type as "day"));
  const clock = ["hour", "minute", "second"].map((type) => parts.get(type as "hour")).join(":");
  return `${day} ${month?.toUpperCase()} ${year} ${clock} ${zone}`;
}

/** Returns the seconds since 1900 as four bytes, which wrap to 0 in 2036. */
export function time(now: Date): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((Math.floor(now.getTime() / 1000) + SECONDS_TO_1970) % 2 ** 32);
  return bytes;
}

/** Yields lines of printable characters. Each starts one character later than the one before. */
export function* lines(): Generator<string> {
  for (let start = 0; ; start = (start + 1) % PRINTABLE.length) {
    yield `${(PRINTABLE + PRINTABLE).slice(start, start + LINE_LENGTH)}\r\n`;
  }
}

/** Calls `then` at the end of the client's stream; at once if it has already ended. */
function onEnd(socket: net.Socket, then: () => void): void {
  if (socket.readableEnded) then();
  else socket.once("end", then);
}

/** Sends the bytes and ends. Discards received bytes: unread, they would turn the end into a reset. */
function sendAll(socket: net.Socket, bytes: string | Buffer): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
  socket.end(bytes);
}

/** Returns a function that adds the socket's bytes since the last call to the meters. */
function counterOf(socket: net.Socket, meters: readonly Meter[]): () => void {
  let counted = { in: 0, out: 0 };
  return () => {
    const now = { in: socket.bytesRead, out: socket.bytesWritten };
    for (const meter of meters) {
      meter.in += now.in - counted.in;
      meter.out += now.out - counted.out;
    }
    counted = now;
  };
}
