/**
 * Sends the first lines of a greeting while the server starts, so that clients continue to wait. All lines of a reply
 * except the last have a dash after the code, so the server's greeting continues the reply.
 */
import type net from "node:net";
import type { Filter } from "../../net/pump.ts";
import type { RelayEnd } from "../../net/relay.ts";
import type { HeldClient, HeldRelayOptions } from "./protocol.ts";

const CODE_LENGTH = 3;

export interface GreetingText {
  /** Returns a line that other lines follow: `220-…`. */
  waiting(): string;
  /** A last line: `220 …`. */
  readonly end: string;
  /** The reply to a client that is rejected: `421 …`. */
  readonly rejection: string;
}

export interface GreetingIntervals {
  /** From the client's connection to its first line, in milliseconds. A quick start needs no line. */
  readonly firstMs: number;
  /** Between two lines, in milliseconds. */
  readonly everyMs: number;
}

export interface GreetingOptions {
  readonly text: GreetingText;
  readonly intervals: GreetingIntervals;
  /** Whether no lines are sent. */
  readonly isSilent: boolean;
  /** Relays a client. @param isStarted whether lines were sent, which the server's greeting must continue */
  readonly relay: (options: HeldRelayOptions, isStarted: boolean) => Promise<RelayEnd>;
}

/** Sockets to which lines were sent. A client that waits again, for a changed service, still has an unfinished greeting. */
const started = new WeakSet<net.Socket>();

/** Holds a client with lines of a greeting. */
export function holdWithGreeting(socket: net.Socket, options: GreetingOptions): HeldClient {
  const { text, intervals, isSilent, relay } = options;
  const send = (): void => {
    timer = setTimeout(send, intervals.everyMs);
    // A client that does not read gets no more lines.
    if (!socket.writable || socket.writableLength > 0) return;
    started.add(socket);
    socket.write(text.waiting());
  };
  let timer = isSilent ? undefined : setTimeout(send, intervals.firstMs);
  return {
    ready: async () => {
      clearTimeout(timer);
      return undefined;
    },
    relay: (relayOptions) => relay(relayOptions, started.has(socket)),
    rejectionReply: async () => Buffer.from(started.has(socket) ? text.end + text.rejection : text.rejection),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/**
 * Joins the server's first reply to a started greeting. If its code differs, the greeting is ended first, and the client
 * takes the reply as the answer to its first command: not all clients accept a reply with two codes.
 */
export class GreetingFilter implements Filter {
  readonly #text: GreetingText;
  /** The server's first bytes; undefined after its code was read. */
  #start: Buffer | undefined = Buffer.alloc(0);

  constructor(text: GreetingText) {
    this.#text = text;
  }

  take(chunk: Buffer, write: (bytes: Buffer) => void): undefined {
    if (this.#start === undefined) return void write(chunk);
    const start = this.#start.length === 0 ? chunk : Buffer.concat([this.#start, chunk]);
    this.#start = start;
    if (start.length <= CODE_LENGTH) return;
    this.#start = undefined;
    const isContinued = start.toString("latin1", 0, CODE_LENGTH) === this.#text.end.slice(0, CODE_LENGTH);
    if (!isContinued || !/[- \r\n]/.test(String.fromCharCode(start[CODE_LENGTH]!))) write(Buffer.from(this.#text.end));
    write(start);
  }

  /** A server that ends without a greeting has rejected the client. */
  end(last: Buffer, write: (bytes: Buffer) => void): void {
    if (last.length > 0) this.take(last, write);
    if (this.#start === undefined) return;
    const { end, rejection } = this.#text;
    write(this.#start.length === 0 ? Buffer.from(end + rejection) : Buffer.concat([Buffer.from(end), this.#start]));
    this.#start = undefined;
  }
}
