/** The exchange of a probe with a server over one connection. */
import type net from "node:net";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import type { Parsed } from "../net/peek.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-protocol.ts";
import { AnsweredError, afterHeader, type NamedProbe, until } from "./probe.ts";
import { PROBE_DIAL_MS } from "./tcp.ts";

/** Limit of bytes that are read for an answer. */
const MAX_BYTES = 64 * 1024;
/** Time for the end of an exchange after the target counts as ready. */
const LEAVE_MS = 1_000;

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
      if (this.#isOver) throw new ClosedError("it accepts connections, and closes them without a complete answer");
      if (this.#received.length > MAX_BYTES) throw new AnsweredError("it sends data that is not an answer");
      await this.#change(signal);
    }
  }

  close(): void {
    closeGracefully(this.socket);
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise } = this.#changed;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    await Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
  }
}

/** A probe that finds out by one exchange whether a server is ready. */
export interface Question {
  /** For messages: `redis PING`. */
  readonly name: string;
  /** What the server has not done yet, after it accepted the connection: `has not greeted`. */
  readonly missing: string;
  /** Deadline of the exchange, in milliseconds. */
  readonly limitMs: number;
  /** Takes the connection over before anything is received, for encryption; absent: it stays as it is. */
  secure?(socket: net.Socket): net.Socket;
  /** Resolves if the server is ready. @throws AnsweredError if it is not ready yet */
  ask(exchange: Exchange, signal: AbortSignal): Promise<void>;
  /** Ends the exchange as the protocol requires, in the background after the target counts as ready. */
  leave?(exchange: Exchange, signal: AbortSignal): Promise<void>;
}

/** Repeats an exchange on new connections to `port` until the server is ready. */
export function questionProbe(port: number, question: Question, send?: ProxyVersion): NamedProbe {
  const { name, missing, limitMs } = question;
  return {
    name: `${name} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      until(async (attemptSignal, meets) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal });
        meets(`it accepts connections, and ${missing} yet`);
        if (send !== undefined) socket.write(proxyHeader(send));
        const exchange = new Exchange(question.secure?.(socket) ?? socket);
        const late = AbortSignal.timeout(limitMs);
        try {
          await question.ask(exchange, AbortSignal.any([attemptSignal, late]));
        } catch (error) {
          exchange.close();
          if (error !== late.reason) throw error;
          throw new AnsweredError(`it accepts connections, and ${missing} within ${limitMs / 1_000} s`);
        }
        void leave(exchange, question);
      }, signal),
  };
}

async function leave(exchange: Exchange, question: Question): Promise<void> {
  exchange.socket.unref();
  await question.leave?.(exchange, AbortSignal.timeout(LEAVE_MS)).catch(() => {});
  exchange.close();
}
