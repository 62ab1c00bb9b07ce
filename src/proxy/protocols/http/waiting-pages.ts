/** The waiting pages of one service. All get the same update, about once a second. */
import type net from "node:net";
import { within } from "../../../async/wait.ts";
import type { Progress } from "../protocol.ts";
import { chunk, lastChunk, pageHead } from "./answer.ts";
import { elapsed, failure, output, pageStart, reload, status } from "./page-html.ts";
import { retryAfter } from "./reason.ts";

/** Limit of open pages. More browsers wait without a page. */
export const MAX_PAGES = 100;
const UPDATE_MS = 1_000;
/** Limit of the wait for the target's last output lines. */
const LAST_LINES_MS = 2_000;
/** Time in which a browser may read the end of its page and close the connection. */
const LINGER_MS = 5_000;

/** The end of a page whose browser must reload. */
export const reloadChunk: Buffer = Buffer.concat([chunk(reload), lastChunk]);

/** The browser that gets a page, and the target's progress. */
export interface PageClient {
  /** Paused. */
  readonly socket: net.Socket;
  /** Aborted when the connection is closed. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** @see Navigation.isOwn */
  readonly isOwn: boolean;
}

/** Pieces of a page. */
interface ProgressUpdate {
  readonly status: string;
  readonly elapsed: string;
  readonly output: string;
}

export interface WaitingPagesOptions {
  /** Number of the target's last output lines that are shown. */
  readonly logLines: number;
  /** Interval of the updates in milliseconds; default: 1,000. */
  readonly updateMs?: number;
}

export class WaitingPages {
  readonly #logLines: number;
  readonly #updateMs: number;
  readonly #open = new Set<WaitingPage>();
  #lines: readonly string[] = [];
  #output = "";
  #timer: NodeJS.Timeout | undefined;

  constructor({ logLines, updateMs = UPDATE_MS }: WaitingPagesOptions) {
    this.#logLines = logLines;
    this.#updateMs = updateMs;
  }

  /** Number of open pages. */
  get size(): number {
    return this.#open.size;
  }

  /** Opens a page, which is updated until it is disposed. Returns undefined if too many are open. */
  open(client: PageClient): WaitingPage | undefined {
    if (this.#open.size >= MAX_PAGES) return undefined;
    const page = new WaitingPage(client, {
      onClose: () => this.#onClose(page),
      lastOutput: () => this.#lastOutput(client.progress),
    });
    this.#open.add(page);
    page.start(this.#updateOf(client.progress));
    this.#timer ??= setInterval(() => this.#onTimer(), this.#updateMs);
    void this.#read(client.progress);
    return page;
  }

  #onClose(page: WaitingPage): void {
    this.#open.delete(page);
    if (this.#open.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#lines = [];
    this.#output = "";
  }

  #onTimer(): void {
    const [first] = this.#open;
    if (first === undefined) return;
    // All pages belong to one service, so their progress is the same.
    this.#updateAll(first.progress);
    void this.#read(first.progress);
  }

  #updateAll(progress: Progress): void {
    const update = this.#updateOf(progress);
    for (const page of this.#open) page.update(update);
  }

  async #read(progress: Progress): Promise<void> {
    if (this.#logLines === 0) return;
    const lines = await progress.lastLines(AbortSignal.timeout(LAST_LINES_MS));
    // An unchanged list means that the output was not read again.
    if (this.#open.size === 0 || lines === this.#lines) return;
    this.#lines = lines;
    const before = this.#output;
    this.#output = this.#render(lines);
    if (this.#output !== before) this.#updateAll(progress);
  }

  async #lastOutput(progress: Progress): Promise<string> {
    if (this.#logLines === 0) return "";
    return this.#render(await progress.lastLines(AbortSignal.timeout(LAST_LINES_MS)));
  }

  #render(lines: readonly string[]): string {
    return output(lines.slice(-this.#logLines));
  }

  #updateOf(progress: Progress): ProgressUpdate {
    const seconds = Math.max(0, Math.floor((Date.now() - progress.since) / 1000));
    return { status: status(stateOf(progress)), elapsed: elapsed(seconds), output: this.#output };
  }
}

interface PageContext {
  /** Called when the page needs no more updates. */
  onClose(): void;
  /** Returns the final output of the target. */
  lastOutput(): Promise<string>;
}

/** One page in one browser. */
export class WaitingPage implements Disposable {
  readonly #client: PageClient;
  readonly #context: PageContext;
  #shown: Pick<ProgressUpdate, "status" | "output"> = { status: "", output: "" };

  constructor(client: PageClient, context: PageContext) {
    this.#client = client;
    this.#context = context;
  }

  get progress(): Progress {
    return this.#client.progress;
  }

  start(update: ProgressUpdate): void {
    const { socket, progress, isOwn } = this.#client;
    socket.write(pageHead(isOwn, retryAfter(progress.cooldownUntil)));
    socket.write(chunk(pageStart(`Starting ${progress.service}…`) + this.#changesOf(update)));
    // Discard further bytes of the browser: unread bytes would turn the end into a reset.
    socket.resume();
  }

  /** Sends an update. A browser that does not read gets the newest one when it reads again. */
  update(update: ProgressUpdate): void {
    const { socket } = this.#client;
    if (socket.writable && socket.writableLength === 0) socket.write(chunk(this.#changesOf(update)));
  }

  /** Makes the browser reload. Resolves when the page was sent. @throws the reason of the signal if the browser has gone */
  async replace(): Promise<void> {
    this[Symbol.dispose]();
    const { socket, signal } = this.#client;
    if (!signal.aborted) {
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      socket.end(reloadChunk);
      await within(LINGER_MS, "the end of a page", closed).catch(() => socket.destroy());
    }
    if (!socket.writableFinished) signal.throwIfAborted();
  }

  /** Shows the failure, and returns the last bytes of the page. */
  async rejectionReply(sentence: string): Promise<Buffer> {
    // Sent before the final output, which may take 2 s.
    this.#client.socket.write(chunk(failure(`${this.progress.service} did not start`, sentence)));
    const last = await this.#context.lastOutput();
    return last === "" ? lastChunk : Buffer.concat([chunk(last), lastChunk]);
  }

  [Symbol.dispose](): void {
    this.#context.onClose();
  }

  #changesOf(update: ProgressUpdate): string {
    const isStatusNew = update.status !== this.#shown.status;
    const isOutputNew = update.output !== this.#shown.output;
    this.#shown = update;
    return `${isStatusNew ? update.status : ""}${update.elapsed}${isOutputNew ? update.output : ""}`;
  }
}

/** Returns the progress of the target as a sentence. */
function stateOf({ state, pending }: Progress): string {
  switch (state) {
    case "starting":
      return pending.length === 0 ? "It is being started." : `It is starting; still missing: ${pending.join(", ")}.`;
    case "stopping":
      return "It is stopping, and will start again after that.";
    case "ready":
    case "draining":
      return "It is up; connecting.";
    default:
      return "It is about to be started.";
  }
}
