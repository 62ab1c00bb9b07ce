/** Reads what a client says first, and gives it back: whoever serves the client finds its stream untouched. */
import type net from "node:net";
import { GrowingBuffer } from "./growing-buffer.ts";

/** Why nothing came of it. */
export type PeekFailure = "ended" | "too_long" | "too_late";

export class PeekError extends Error {
  override readonly name = "PeekError";
  readonly reason: PeekFailure;

  constructor(reason: PeekFailure) {
    super(sentences[reason]);
    this.reason = reason;
  }
}

const sentences: Readonly<Record<PeekFailure, string>> = {
  ended: "the client ended before it had said enough",
  too_long: "the client said too much before it said enough",
  too_late: "the client did not say enough in time",
};

/** What the first bytes mean. */
export interface Parsed<T> {
  readonly value: T;
  /** How many bytes were for us alone, and are not given back. */
  readonly used: number;
}

export interface PeekOptions<T> {
  /**
   * Parses all bytes so far; undefined if more are needed. Called for each piece that arrives, with all earlier bytes, so
   * a reader of long input can continue where it stopped. Its errors are passed on.
   */
  readonly read: (bytes: Buffer) => Parsed<T> | undefined;
  /** In bytes. More are not read, also where they are there: what comes of it must not depend on how they came. */
  readonly limit: number;
  /** In milliseconds. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the first bytes of a socket mean something. Whatever comes of it, the socket is paused afterwards, with
 * all in it that nobody used; only of a client that has ended it may be lost, with what can be said to nobody.
 *
 * @throws PeekError, what `read` throws, or the reason of `signal`
 */
export function peek<T>(socket: net.Socket, { read, limit, deadlineMs, signal }: PeekOptions<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const received = new GrowingBuffer();

  // All of it within one turn: a stream that was found empty at its end tells its end in the next one, for good.
  const settle = (used: number): void => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    socket.off("readable", onReadable).off("end", onEnd).off("close", onEnd);
    const { bytes } = received;
    if (used < bytes.length && !socket.readableEnded && !socket.destroyed) socket.unshift(bytes.subarray(used));
    socket.pause();
  };
  const fail = (error: unknown): void => {
    settle(0);
    reject(error);
  };
  const onReadable = (): void => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    received.append(chunk);
    const { bytes } = received;
    try {
      const found = read(bytes.length > limit ? bytes.subarray(0, limit) : bytes);
      if (found !== undefined) {
        settle(found.used);
        resolve(found.value);
      } else if (bytes.length >= limit) fail(new PeekError("too_long"));
    } catch (error) {
      fail(error);
    }
  };
  const onEnd = (): void => fail(signal.aborted ? signal.reason : new PeekError("ended"));
  const onAbort = (): void => fail(signal.reason);
  const timer = setTimeout(() => fail(new PeekError("too_late")), deadlineMs);

  if (signal.aborted) onAbort();
  else if (socket.readableEnded || socket.destroyed) onEnd();
  else {
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("readable", onReadable).once("end", onEnd).once("close", onEnd);
  }
  return promise;
}
