/** The end of clients that are turned away. */
import type net from "node:net";
import { reset } from "../../net/reset.ts";
import { ranks, Slots } from "./slots.ts";

/** How many take leave at a time, unless somebody says otherwise. */
export const MAX_LINGERING = 64;

/** From the client's own end to a reset: time for what it was told to arrive. */
const AFTER_END_MS = 200;

const NOT_YET = Symbol("not yet");

export interface LingeringCloseOptions {
  /** How many may take leave at a time; each holds a descriptor. */
  readonly limit: number;
  /** How long one may take to read what it was told, in milliseconds. */
  readonly timeoutMs: number;
}

export interface CloseOptions {
  /** What the client is told, if anything. */
  readonly banner?: Buffer | undefined;
  /** Whether its connection then ends in good order, or is broken off. */
  readonly how: "close" | "reset";
}

/**
 * A socket that is closed while there is something unread in it is reset by the kernel, and a reset may overtake what
 * was written before it. So what the client sends is read, and dropped, until it has ended or its time is over.
 */
export class LingeringClose {
  readonly #options: LingeringCloseOptions;
  readonly #slots: Slots;
  /** Each with what ends it. */
  readonly #closing = new Map<net.Socket, () => void>();

  constructor(options: LingeringCloseOptions = { limit: MAX_LINGERING, timeoutMs: 2_000 }) {
    this.#options = options;
    this.#slots = new Slots({ limit: options.limit, what: "connections being closed" });
  }

  /** How many take leave at this moment. */
  get size(): number {
    return this.#closing.size;
  }

  /** Ends a connection; resolves when it is closed. When too many take leave, the oldest of the source with most is ended. */
  async start(client: net.Socket, { banner, how }: CloseOptions): Promise<void> {
    if (client.destroyed) return;
    const end = (): void => {
      if (how === "reset") reset(client);
      else client.destroy();
    };
    const isUntold = banner === undefined && client.bytesWritten === 0;
    if (how === "reset" && isUntold) return end();
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
   * Ends the connection of one that is told something which may depend on what it says itself, in good order; it takes
   * leave meanwhile. Without words it is reset.
   *
   * @param words never rejects, and ends by itself, also when the client is gone
   */
  async startAfterReply(client: net.Socket, words: Promise<Buffer | undefined>): Promise<void> {
    // Most know at once, or as soon as what the client has said already is read: that takes nobody's place.
    let banner = await Promise.race([words, nextTurn()]);
    if (banner === NOT_YET) {
      using _slot = this.#begin(client, () => client.destroy());
      banner = await words;
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
    const leave = (): void => {
      slot[Symbol.dispose]();
      this.#closing.delete(client);
    };
    slot.offer(
      () => ranks.idle,
      () => {
        leave();
        end();
      },
    );
    this.#closing.set(client, end);
    return { [Symbol.dispose]: leave };
  }
}

function nextTurn(): Promise<typeof NOT_YET> {
  return new Promise((resolve) => setImmediate(resolve, NOT_YET));
}
