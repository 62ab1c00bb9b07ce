/** The waiting pages of one service: all are told the same news, about once a second. */
import type net from "node:net";
import { within } from "../../../async/wait.ts";
import type { Progress } from "../protocol.ts";
import { chunk, lastChunk, pageHead } from "./answer.ts";
import { retryAfter } from "./reason.ts";
import { elapsed, entry, failure, output, reload, status } from "./waiting-page.ts";

/** How many are shown a page at a time; more browsers are held without one. */
export const MAX_PAGES = 100;
const TELL_MS = 1_000;
/** How long the last lines of a target that has failed may take. */
const LAST_LINES_MS = 2_000;
/** How long a browser may take to read the end of its page, and to close. */
const LINGER_MS = 5_000;

/** The end of a page whose browser is to ask anew. */
export const reloadChunk: Buffer = Buffer.concat([chunk(reload), lastChunk]);

/** Where a page is shown, and of what. */
export interface PageClient {
  /** Paused. */
  readonly socket: net.Socket;
  /** Aborted when its client leaves. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** See Navigation. */
  readonly isOwn: boolean;
}

/** As pieces of a page. */
interface ProgressUpdate {
  readonly status: string;
  readonly elapsed: string;
  readonly output: string;
}

export interface WaitingPagesOptions {
  /** How many of the target's last lines are shown. */
  readonly logLines: number;
  /** From news to news, in milliseconds; default: a second. */
  readonly tellMs?: number;
}

export class WaitingPages {
  readonly #logLines: number;
  readonly #tellMs: number;
  readonly #open = new Set<WaitingPage>();
  #lines: readonly string[] = [];
  #output = "";
  #ticking: NodeJS.Timeout | undefined;

  constructor({ logLines, tellMs = TELL_MS }: WaitingPagesOptions) {
    this.#logLines = logLines;
    this.#tellMs = tellMs;
  }

  /** How many are shown at this moment. */
  get size(): number {
    return this.#open.size;
  }

  /** Begins a page, which is told the news until it is disposed of; undefined when there are too many. */
  open(showing: PageClient): WaitingPage | undefined {
    if (this.#open.size >= MAX_PAGES) return undefined;
    const page = new WaitingPage(showing, {
      left: () => this.#left(page),
      lastOutput: () => this.#lastOutput(showing.progress),
    });
    this.#open.add(page);
    page.begin(this.#update(showing.progress));
    this.#ticking ??= setInterval(() => this.#tell(), this.#tellMs);
    void this.#read(showing.progress);
    return page;
  }

  #left(page: WaitingPage): void {
    this.#open.delete(page);
    if (this.#open.size > 0) return;
    clearInterval(this.#ticking);
    this.#ticking = undefined;
    this.#lines = [];
    this.#output = "";
  }

  #tell(): void {
    const [first] = this.#open;
    if (first === undefined) return;
    // They differ in nothing: all pages are of one service.
    this.#tellAll(first.progress);
    void this.#read(first.progress);
  }

  #tellAll(progress: Progress): void {
    const news = this.#update(progress);
    for (const page of this.#open) page.tell(news);
  }

  async #read(progress: Progress): Promise<void> {
    if (this.#logLines === 0) return;
    const lines = await progress.lastLines(AbortSignal.timeout(LAST_LINES_MS));
    // It is the same list as long as nothing was read anew.
    if (this.#open.size === 0 || lines === this.#lines) return;
    this.#lines = lines;
    const before = this.#output;
    this.#output = this.#render(lines);
    if (this.#output !== before) this.#tellAll(progress);
  }

  async #lastOutput(progress: Progress): Promise<string> {
    if (this.#logLines === 0) return "";
    return this.#render(await progress.lastLines(AbortSignal.timeout(LAST_LINES_MS)));
  }

  #render(lines: readonly string[]): string {
    return output(lines.slice(-this.#logLines));
  }

  #update(progress: Progress): ProgressUpdate {
    const seconds = Math.max(0, Math.floor((Date.now() - progress.since) / 1000));
    return { status: status(stateOf(progress)), elapsed: elapsed(seconds), output: this.#output };
  }
}

interface PageContext {
  /** The page is not told anything any more. */
  left(): void;
  /** What the target printed last of all. */
  lastOutput(): Promise<string>;
}

/** One page in one browser. */
export class WaitingPage implements Disposable {
  readonly #showing: PageClient;
  readonly #around: PageContext;
  #told: Pick<ProgressUpdate, "status" | "output"> = { status: "", output: "" };

  constructor(showing: PageClient, context: PageContext) {
    this.#showing = showing;
    this.#around = context;
  }

  get progress(): Progress {
    return this.#showing.progress;
  }

  begin(news: ProgressUpdate): void {
    const { socket, progress, isOwn } = this.#showing;
    socket.write(pageHead(isOwn, retryAfter(progress.cooldownUntil)));
    socket.write(chunk(entry(`Starting ${progress.service}…`) + this.#changesOnly(news)));
    // Whatever the browser says from now on is for nobody, and unread it would turn our end into a reset.
    socket.resume();
  }

  /** A browser that does not read gets the newest when it reads again, and none of what it missed. */
  tell(news: ProgressUpdate): void {
    const { socket } = this.#showing;
    if (socket.writable && socket.writableLength === 0) socket.write(chunk(this.#changesOnly(news)));
  }

  /** The site itself is there. Resolves when the page has been sent. @throws the reason of the signal when the client left before */
  async replace(): Promise<void> {
    this[Symbol.dispose]();
    const { socket, signal } = this.#showing;
    if (!signal.aborted) {
      const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      socket.end(reloadChunk);
      await within(LINGER_MS, "the end of a page", closed).catch(() => socket.destroy());
    }
    if (!socket.writableFinished) signal.throwIfAborted();
  }

  /** What it ends with when the site does not come. */
  async rejectionReply(sentence: string): Promise<Buffer> {
    // At once: what the target said last of all may take a while.
    this.#showing.socket.write(chunk(failure(`${this.progress.service} did not start`, sentence)));
    const last = await this.#around.lastOutput();
    return last === "" ? lastChunk : Buffer.concat([chunk(last), lastChunk]);
  }

  [Symbol.dispose](): void {
    this.#around.left();
  }

  #changesOnly(news: ProgressUpdate): string {
    const isStatusNew = news.status !== this.#told.status;
    const isOutputNew = news.output !== this.#told.output;
    this.#told = news;
    return `${isStatusNew ? news.status : ""}${news.elapsed}${isOutputNew ? news.output : ""}`;
  }
}

/** How far the target is, in a sentence. */
function stateOf({ state, pending }: Progress): string {
  switch (state) {
    case "starting":
      return pending.length === 0 ? "It is being started." : `It is starting; still missing: ${pending.join(", ")}.`;
    case "stopping":
      return "It was going to sleep; it starts again as soon as it has stopped.";
    case "ready":
    case "draining":
      return "It is up; connecting.";
    default:
      return "It is being woken.";
  }
}
