/**
 * HTTP/1. A client waits with its request unread, so the target gets the request unchanged; a browser may get a page.
 * If the target does not start, the response is 503, which all clients handle.
 *
 * @see RFC 9110, RFC 9112
 */

import { delay } from "../../../async/wait.ts";
import { HttpHeadError, HttpHeadReader } from "../../../net/http-head.ts";
import { PeekError, peek } from "../../../net/peek.ts";
import type { Served } from "../../outcome.ts";
import { ServiceChangedError } from "../../outcome.ts";
import type { HeldClient, Protocol, WaitingClient } from "../protocol.ts";
import { silence } from "../raw.ts";
import { unavailable } from "./answer.ts";
import { type Navigation, navigationOf } from "./navigation.ts";
import { reasonFor, retryAfter, whenAgain } from "./reason.ts";
import { MAX_HEAD, requestOf } from "./request.ts";
import { reloadChunk, type WaitingPage, WaitingPages } from "./waiting-pages.ts";

/** No page is shown for a target that is ready within this time, such as a paused one. */
const GRACE_MS = 300;
/** A client whose request head takes longer gets no page. */
const HEAD_MS = 10_000;

/** Ends the connection without a response and without a reset. */
const NO_RESPONSE = Buffer.alloc(0);

export interface HttpOptions {
  /** Show browsers a page, with this number of the target's last output lines. */
  readonly page?: { readonly logLines: number };
  /** Time before a page is shown, in milliseconds; default: 300. */
  readonly graceMs?: number;
}

export class Http implements Protocol {
  readonly #pages: WaitingPages | undefined;
  readonly #graceMs: number;

  constructor({ page, graceMs = GRACE_MS }: HttpOptions = {}) {
    this.#pages = page && new WaitingPages(page);
    this.#graceMs = graceMs;
  }

  /** Number of open pages. */
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
  readonly relay = silence.relay;
  readonly #client: WaitingClient;
  readonly #ended = new AbortController();
  #page: WaitingPage | undefined;

  constructor(client: WaitingClient) {
    this.#client = client;
  }

  get mustReconnect(): boolean {
    return this.#page !== undefined;
  }

  /** Shows a page after the grace time if the request is a navigation. */
  async showPage(pages: WaitingPages, graceMs: number): Promise<void> {
    const { socket, progress } = this.#client;
    const signal = AbortSignal.any([this.#ended.signal, this.#client.signal]);
    const navigation = await this.#navigation(signal);
    if (navigation === undefined) return;
    await delay(graceMs, signal).catch(() => {});
    if (signal.aborted || progress.state === "ready") return;
    this.#page = pages.open({ ...navigation, socket, progress, signal: this.#client.signal });
  }

  async ready(): Promise<Served | undefined> {
    this.#ended.abort();
    if (this.#page === undefined) return undefined;
    await this.#page.replace();
    return { outcome: "served", end: "page" };
  }

  async rejectionReply(reason: unknown): Promise<Buffer | undefined> {
    const { socket, progress } = this.#client;
    if (this.#page !== undefined && reason instanceof ServiceChangedError) return reloadChunk;
    const { service, cooldownUntil } = progress;
    const retryAfterS = retryAfter(cooldownUntil);
    const sentence = `${reasonFor(reason)} ${whenAgain(retryAfterS)}`;
    if (this.#page !== undefined) return this.#page.rejectionReply(sentence);
    // Read synchronously if possible: a client that must be waited for may be evicted from the lingering closes.
    const found = requestOf(socket);
    const request = found instanceof Promise ? await found : found;
    return request === undefined ? NO_RESPONSE : unavailable(request, { service, sentence, retryAfterS });
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
    this.#page?.[Symbol.dispose]();
  }

  /** Returns undefined if the request is not a navigation, or was not read. */
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
