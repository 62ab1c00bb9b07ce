/** Reads a client's first bytes and puts them back, so that the handler finds the complete stream. */
import type net from "node:net";
import { GrowingBuffer } from "./growing-buffer.ts";

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
  ended: "the client closed before its first bytes were complete",
  too_long: "the client's first bytes are longer than the limit",
  too_late: "the client's first bytes were not complete in time",
};

/** The parsed first bytes. */
export interface Parsed<T> {
  readonly value: T;
  /** Number of bytes that are consumed and not put back. */
  readonly used: number;
}

export interface PeekOptions<T> {
  /**
   * Parses all bytes so far; undefined if more are needed. Called for each chunk, with all earlier bytes, so a reader of
   * long input can continue where it stopped. Its errors reject the promise.
   */
  readonly read: (bytes: Buffer) => Parsed<T> | undefined;
  /** Limit of the parsed bytes, so that the result does not depend on the chunks in which they arrive. */
  readonly limit: number;
  /** Milliseconds. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the first bytes of a socket are parsed. The socket is paused afterwards and contains all unconsumed
 * bytes, except if the client has ended.
 *
 * @throws PeekError, what `read` throws, or the reason of `signal`
 */
export function peek<T>(socket: net.Socket, { read, limit, deadlineMs, signal }: PeekOptions<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const received = new GrowingBuffer();

  // All in one turn of the event loop: a stream that is empty at its end emits `end` in the next turn, only once.
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
