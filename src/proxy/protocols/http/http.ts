/**
 * HTTP/1. A client is held with its request unread, which the target then reads as it was sent; a browser may be shown a
 * page meanwhile. When the target does not start, the answer is 503, for which every client knows what to do.
 *
 * @see RFC 9110, RFC 9112
 */

import { delay } from "../../../async/wait.ts";
import { HttpHeadError, HttpHeadReader } from "../../../net/http-head.ts";
import { PeekError, peek } from "../../../net/peek.ts";
import { relay } from "../../../net/relay.ts";
import type { Served } from "../../outcome.ts";
import { ServiceChangedError } from "../../outcome.ts";
import type { HeldClient, Protocol, WaitingClient } from "../protocol.ts";
import { unavailable } from "./answer.ts";
import { type Navigation, navigationOf } from "./navigation.ts";
import { reasonFor, retryAfter, whenAgain } from "./reason.ts";
import { MAX_HEAD, requestOf } from "./request.ts";
import { reloadChunk, type WaitingPage, WaitingPages } from "./waiting-pages.ts";

/** A target that is there sooner, such as a paused one, is not worth a page. */
const GRACE_MS = 300;
/** Whoever takes longer for the head of a request is held without a page. */
const HEAD_MS = 10_000;

/** The end of a connection in good order, without a word. */
const NOTHING = Buffer.alloc(0);

export interface HttpOptions {
  /** Show browsers a page that waits for them, with so many of the last lines that the target printed. */
  readonly page?: { readonly logLines: number };
  /** How long a target may take before a page is shown, in milliseconds; default: so short that nobody minds. */
  readonly graceMs?: number;
}

export class Http implements Protocol {
  readonly #pages: WaitingPages | undefined;
  readonly #graceMs: number;

  constructor({ page, graceMs = GRACE_MS }: HttpOptions = {}) {
    this.#pages = page && new WaitingPages(page);
    this.#graceMs = graceMs;
  }

  /** How many browsers are shown a page at this moment. */
  get pages(): number {
    return this.#pages?.size ?? 0;
  }

  hold(client: WaitingClient): HeldClient {
    const heldClient = new HttpHeldClient(client);
    if (this.#pages !== undefined && client.progress.state !== "ready") {
      void heldClient.showPage(this.#pages, this.#graceMs);
    }
    return heldClient;
  }
}

class HttpHeldClient implements HeldClient {
  readonly relay = relay;
  readonly #client: WaitingClient;
  readonly #over = new AbortController();
  #page: WaitingPage | undefined;

  constructor(client: WaitingClient) {
    this.#client = client;
  }

  get mustReconnect(): boolean {
    return this.#page !== undefined;
  }

  /** Sooner or later, if its client is a browser that takes one. */
  async showPage(pages: WaitingPages, graceMs: number): Promise<void> {
    const { socket, progress } = this.#client;
    const signal = AbortSignal.any([this.#over.signal, this.#client.signal]);
    const navigation = await this.#navigation(signal);
    if (navigation === undefined) return;
    await delay(graceMs, signal).catch(() => {});
    if (signal.aborted || progress.state === "ready") return;
    this.#page = pages.open({ ...navigation, socket, progress, signal: this.#client.signal });
  }

  async ready(): Promise<Served | undefined> {
    this.#over.abort();
    if (this.#page === undefined) return undefined;
    await this.#page.replace();
    return { outcome: "served", end: "page" };
  }

  async refuse(reason: unknown): Promise<Buffer | undefined> {
    const { socket, progress } = this.#client;
    if (this.#page !== undefined && reason instanceof ServiceChangedError) return reloadChunk;
    const { service, cooldownUntil } = progress;
    const retryAfterS = retryAfter(cooldownUntil);
    const sentence = `${reasonFor(reason)} ${whenAgain(retryAfterS)}`;
    if (this.#page !== undefined) return this.#page.rejectionReply(sentence);
    // No turn is lost where the request is there: who is to be listened to takes leave already, and may have to make room.
    const found = requestOf(socket);
    const request = found instanceof Promise ? await found : found;
    return request === undefined ? NOTHING : unavailable(request, { service, sentence, retryAfterS });
  }

  [Symbol.dispose](): void {
    this.#over.abort();
    this.#page?.[Symbol.dispose]();
  }

  /** Undefined also where nobody can tell. */
  async #navigation(signal: AbortSignal): Promise<Navigation | undefined> {
    const reader = new HttpHeadReader();
    const read = (bytes: Buffer): { value: Navigation | undefined; used: number } | undefined => {
      const head = reader.read(bytes);
      return head && { value: navigationOf(head), used: 0 };
    };
    try {
      return await peek(this.#client.socket, { read, limit: MAX_HEAD, deadlineMs: HEAD_MS, signal });
    } catch (error) {
      if (signal.aborted || error instanceof PeekError || error instanceof HttpHeadError) return undefined;
      throw error;
    }
  }
}
