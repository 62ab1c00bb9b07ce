/** The exchange of a probe with a server over one connection. */
import type net from "node:net";
import { abortable } from "../async/wait.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import type { Parsed } from "../net/peek.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-protocol.ts";
import { AnsweredError, afterHeader, type NamedProbe, retryUntilReady } from "./probe.ts";
import { PROBE_DIAL_MS } from "./tcp.ts";

/** Limit of bytes that are read for an answer. */
const MAX_BYTES = 64 * 1024;
/** Time for the end of an exchange after the target counts as ready. */
const QUIT_MS = 1_000;

/** The server closed the connection before a complete answer. */
export class ClosedError extends AnsweredError {}

export class Exchange {
  readonly socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);
  #isOver = false;
  #error: Error | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      // The rest stays in the kernel until some of this is used.
      if (this.#received.length > MAX_BYTES) socket.pause();
      this.#wake();
    });
    for (const event of ["end", "error", "close"]) {
      socket.on(event, (error: unknown) => {
        if (error instanceof Error) this.#error ??= error;
        this.#isOver = true;
        this.#wake();
      });
    }
  }

  /** The error of the connection, if there was one. */
  get error(): Error | undefined {
    return this.#error;
  }

  send(bytes: Buffer | string): void {
    if (this.socket.writable) this.socket.write(bytes);
  }

  /**
   * Reads until `read` returns a value for the bytes received so far.
   *
   * @throws ClosedError, AnsweredError after 64 KiB without a value, errors of `read`, the reason of `signal`
   */
  async receive<T>(read: (bytes: Buffer) => Parsed<T> | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const found = read(this.#received);
      if (found !== undefined) {
        this.#received = this.#received.subarray(found.used);
        this.socket.resume();
        return found.value;
      }
      if (this.#isOver) throw new ClosedError("it accepts connections, but closes them without a complete answer");
      if (this.#received.length > MAX_BYTES) throw new AnsweredError("it sends data that is not a valid answer");
      await abortable(this.#changed.promise, signal);
    }
  }

  close(): void {
    closeGracefully(this.socket);
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** How one exchange shows whether a server is ready. */
export interface ReadinessCheck {
  /** For messages: `redis PING`. */
  readonly name: string;
  /** What the server has not done yet, after it accepted the connection: `has not greeted`. */
  readonly missing: string;
  /** Deadline of the exchange, in milliseconds. */
  readonly limitMs: number;
  /** Wraps the connection before anything is received, for encryption; absent: the connection is not encrypted. */
  secure?(socket: net.Socket): net.Socket;
  /** Resolves if the server is ready. @throws AnsweredError if it is not ready yet */
  check(exchange: Exchange, signal: AbortSignal): Promise<void>;
  /** Ends the exchange as the protocol requires, in the background after the target counts as ready. */
  quit?(exchange: Exchange, signal: AbortSignal): Promise<void>;
}

/**
 * Returns a probe that repeats the check on new connections to `port` until the server is ready.
 *
 * @param send version of a PROXY protocol header to send first, with wakeport's own addresses
 */
export function exchangeProbe(port: number, check: ReadinessCheck, send?: ProxyVersion): NamedProbe {
  const { name, missing, limitMs } = check;
  return {
    name: `${name} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      retryUntilReady(async (attemptSignal, onProgress) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal, isProbe: true });
        onProgress(`it accepts connections, but ${missing} yet`);
        if (send !== undefined) socket.write(proxyHeader(send));
        const exchange = new Exchange(check.secure?.(socket) ?? socket);
        const late = AbortSignal.timeout(limitMs);
        try {
          await check.check(exchange, AbortSignal.any([attemptSignal, late]));
        } catch (error) {
          exchange.close();
          if (error !== late.reason) throw error;
          throw new AnsweredError(`it accepts connections, but ${missing} within ${limitMs / 1_000} s`);
        }
        void quit(exchange, check);
      }, signal),
  };
}

async function quit(exchange: Exchange, check: ReadinessCheck): Promise<void> {
  exchange.socket.unref();
  await check.quit?.(exchange, AbortSignal.timeout(QUIT_MS)).catch(() => {});
  exchange.close();
}

/** Returns one line of text without its end, or undefined if it is incomplete. */
export function readLine(bytes: Buffer): Parsed<string> | undefined {
  const end = bytes.indexOf("\n");
  if (end < 0) return undefined;
  return { value: bytes.toString("latin1", 0, end).replace(/\r$/, ""), used: end + 1 };
}
