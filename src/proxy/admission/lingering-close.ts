import type net from "node:net";
import { reset } from "../../net/reset.ts";
import { ranks, Slots } from "./slots.ts";

/** Default limit of connections that are being closed. */
export const MAX_LINGERING = 64;

/** Time from the client's end of stream to the reset, in which the banner arrives. */
const AFTER_END_MS = 200;

const PENDING = Symbol("pending");

export interface LingeringCloseOptions {
  /** Limit of connections that are being closed; each has a descriptor. */
  readonly limit: number;
  /** Time for the client to read and to close, in milliseconds. */
  readonly timeoutMs: number;
}

export interface CloseOptions {
  /** Sent before the end. */
  readonly banner?: Buffer | undefined;
  readonly how: "close" | "reset";
}

/**
 * Closes the connections of rejected clients. A close with unread bytes becomes a reset, which may overtake sent bytes,
 * so the client's bytes are discarded until its end of stream, or for a limited time.
 */
export class LingeringClose {
  readonly #options: LingeringCloseOptions;
  readonly #slots: Slots;
  /** Each with a function that ends it at once. */
  readonly #closing = new Map<net.Socket, () => void>();

  constructor(options: LingeringCloseOptions = { limit: MAX_LINGERING, timeoutMs: 2_000 }) {
    this.#options = options;
    this.#slots = new Slots({ limit: options.limit, what: "connections being closed" });
  }

  /** Number of connections that are being closed. */
  get size(): number {
    return this.#closing.size;
  }

  /** Closes a connection; resolves when it is closed. At the limit, ends the oldest of the source with most. */
  async start(client: net.Socket, { banner, how }: CloseOptions): Promise<void> {
    if (client.destroyed) return;
    const end = (): void => {
      if (how === "reset") reset(client);
      else client.destroy();
    };
    const hasSent = banner !== undefined || client.bytesWritten > 0;
    if (how === "reset" && !hasSent) return end();
    using _slot = this.#begin(client, end);
    let timer = setTimeout(end, this.#options.timeoutMs);
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    client.on("error", () => {});
    if (banner !== undefined) client.write(banner);
    if (how === "close") client.end();
    else {
      client.once("end", () => {
        clearTimeout(timer);
        timer = setTimeout(end, AFTER_END_MS);
      });
    }
    client.resume();
    await closed;
    clearTimeout(timer);
  }

  /**
   * Closes a connection after a reply that may depend on the client's bytes; without a reply, resets it.
   *
   * @param reply never rejects, and settles within a limited time, also if the client leaves
   */
  async startAfterReply(client: net.Socket, reply: Promise<Buffer | undefined>): Promise<void> {
    // Most replies are ready at once, or after the received bytes are read, and need no slot.
    let banner = await Promise.race([reply, nextTurn()]);
    if (banner === PENDING) {
      using _slot = this.#begin(client, () => client.destroy());
      banner = await reply;
    }
    if (banner === undefined) reset(client);
    else await this.start(client, { banner, how: "close" });
  }

  /** Ends all at once. */
  close(): void {
    for (const end of this.#closing.values()) end();
  }

  #begin(client: net.Socket, end: () => void): Disposable {
    const slot = this.#slots.take({ service: "", source: client.remoteAddress ?? "" });
    const release = (): void => {
      slot[Symbol.dispose]();
      this.#closing.delete(client);
    };
    slot.offer(
      () => ranks.idle,
      () => {
        release();
        end();
      },
    );
    this.#closing.set(client, end);
    return { [Symbol.dispose]: release };
  }
}

function nextTurn(): Promise<typeof PENDING> {
  return new Promise((resolve) => setImmediate(resolve, PENDING));
}
