/**
 * The small services that super-servers have always brought along, over TCP alone: over UDP they answer whoever a forged
 * sender names.
 *
 * @see RFC 862 (echo), 863 (discard), 864 (chargen), 867 (daytime), 868 (time)
 */

import type net from "node:net";
import { Readable } from "node:stream";
import type { BuiltinName } from "../../config/config.ts";
import type { Meter } from "../../net/relay.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

/** How long a client that was told all may take to close. */
const LINGER_MS = 2_000;

/** Seconds from 1900, where RFC 868 counts from, to 1970. */
const SECONDS_TO_1970 = 2_208_988_800;

const LINE_LENGTH = 72;
const PRINTABLE = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");

type Answer = (socket: net.Socket) => void;

const answers: Readonly<Record<BuiltinName, Answer>> = {
  echo: (socket) => socket.pipe(socket),
  discard: (socket) => atEnd(socket.resume(), () => socket.end()),
  daytime: (socket) => say(socket, `${daytime(new Date())}\r\n`),
  time: (socket) => say(socket, time(new Date())),
  chargen: (socket) => {
    atEnd(socket.resume(), () => socket.destroy());
    if (!socket.destroyed) Readable.from(lines()).pipe(socket);
  },
};

export class Builtin implements Handler {
  readonly isCold = false;
  readonly #answer: Answer;

  constructor(name: BuiltinName) {
    this.#answer = answers[name];
  }

  serve({ socket, meters, served: opened }: Pick<Client, "socket" | "meters" | "served">): Promise<Served> {
    const { promise, resolve } = Promise.withResolvers<Served>();
    opened();
    let isReset = false;
    socket.once("error", () => {
      isReset = true;
    });
    socket.once("close", () => {
      clearInterval(counting);
      count();
      resolve({ outcome: "served", end: isReset ? "client_reset" : "clean" });
    });
    const count = follow(socket, meters);
    const counting = setInterval(count, 1_000);
    this.#answer(socket);
    return promise;
  }
}

/** `22 NOV 2026 07:32:19 UTC`, in local time, as xinetd writes it. */
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

/** Seconds since 1900, as four bytes; they begin again at 0 in 2036. */
export function time(now: Date): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((Math.floor(now.getTime() / 1000) + SECONDS_TO_1970) % 2 ** 32);
  return bytes;
}

/** Lines of all printable characters, each beginning one further than the one before. */
export function* lines(): Generator<string> {
  for (let start = 0; ; start = (start + 1) % PRINTABLE.length) {
    yield `${(PRINTABLE + PRINTABLE).slice(start, start + LINE_LENGTH)}\r\n`;
  }
}

/** Calls `then` when a client has said all; at once when it had done so while it waited, without a word. */
function atEnd(socket: net.Socket, then: () => void): void {
  if (socket.readableEnded) then();
  else socket.once("end", then);
}

/** Says all there is to say. What the client sends is read and ignored: unread, it would turn our end into a reset. */
function say(socket: net.Socket, words: string | Buffer): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
  socket.end(words);
}

/** Brings the meters up to what the socket has carried, whenever it is called. */
function follow(socket: net.Socket, meters: readonly Meter[]): () => void {
  let seen = { in: 0, out: 0 };
  return () => {
    const now = { in: socket.bytesRead, out: socket.bytesWritten };
    for (const meter of meters) {
      meter.in += now.in - seen.in;
      meter.out += now.out - seen.out;
    }
    seen = now;
  };
}
