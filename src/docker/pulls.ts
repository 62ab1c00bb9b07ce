/**
 * Pulls images, with one pull for all that wait for the same image. A pull continues when they stop waiting, so that a
 * later attempt finds the image or a pull under way.
 */
import { abortable } from "../async/wait.ts";
import { messageOf, TargetError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { JsonLines } from "./json-lines.ts";
import { pullFault } from "./pull-faults.ts";
import { PullProgress } from "./pull-progress.ts";
import type { EngineObserver } from "./reports.ts";

/** An engine without progress for this time has lost its registry. Unpacking a layer counts as progress. */
const SILENCE_MS = 60_000;
const REPORT_EVERY_MS = 5_000;

interface Pull {
  readonly done: Promise<void>;
  readonly progress: PullProgress;
}

export interface PullsOptions {
  readonly engine: Pick<Engine, "pull">;
  readonly observer: EngineObserver;
  /** Default: 60 s. */
  readonly silenceMs?: number;
}

export class Pulls {
  readonly #options: PullsOptions;
  readonly #running = new Map<string, Pull>();
  readonly #closing = new AbortController();

  constructor(options: PullsOptions) {
    this.#options = options;
  }

  /**
   * Waits until an image is pulled.
   *
   * @param image with its tag or digest
   * @throws TargetError if the pull fails; the reason of `signal`, while the pull continues
   */
  async pull(image: string, signal: AbortSignal): Promise<void> {
    await abortable((this.#running.get(image) ?? this.#begin(image)).done, signal);
  }

  /** Returns `image nginx:1.27 (43 %, 12 of 30 MB)`, or undefined if the image is not being pulled. */
  describe(image: string): string | undefined {
    const pull = this.#running.get(image);
    if (pull === undefined) return undefined;
    const { text } = pull.progress;
    return text === "" ? `image ${image}` : `image ${image} (${text})`;
  }

  /** Cancels all pulls. The engine discards unfinished layers. */
  close(): void {
    this.#closing.abort(new TargetError("failed", "pull cancelled: wakeport shuts down"));
  }

  #begin(image: string): Pull {
    const progress = new PullProgress();
    const done = this.#pull(image, progress).finally(() => this.#running.delete(image));
    // Waiting callers receive the error. Without one it is not an unhandled rejection.
    done.catch(() => {});
    const pull = { done, progress };
    this.#running.set(image, pull);
    return pull;
  }

  async #pull(image: string, progress: PullProgress): Promise<void> {
    const { observer } = this.#options;
    const began = performance.now();
    const report = (stage: "begun" | "under way" | "done" | "failed", error?: Error): void =>
      observer.pull({
        image,
        stage,
        durationMs: performance.now() - began,
        doneBytes: progress.doneBytes,
        totalBytes: progress.totalBytes,
        ...(error && { error }),
      });
    report("begun");
    const reporting = setInterval(() => report("under way"), REPORT_EVERY_MS);
    try {
      await this.#follow(image, progress);
      report("done");
    } catch (error) {
      if (!this.#closing.signal.aborted) report("failed", error as Error);
      throw error;
    } finally {
      clearInterval(reporting);
    }
  }

  /** Reads the engine's report to its end. It may contain an error after a successful HTTP status. */
  async #follow(image: string, progress: PullProgress): Promise<void> {
    const { engine, silenceMs = SILENCE_MS } = this.#options;
    const silent = new AbortController();
    const seconds = silenceMs / 1000;
    const silence = setTimeout(
      () => silent.abort(pullFault(image, `no progress for ${seconds} s (timed out)`)),
      silenceMs,
    );
    const signal = AbortSignal.any([this.#closing.signal, silent.signal]);
    let fault: TargetError | undefined;
    const lines = new JsonLines((value) => {
      const message = errorIn(value);
      if (message !== undefined) fault ??= pullFault(image, message);
      else progress.note(value);
    });
    try {
      const stream = await engine.pull(image, signal);
      const ended = new Promise<void>((resolve, reject) => {
        stream.on("data", (chunk: Buffer) => {
          silence.refresh();
          lines.push(chunk);
        });
        stream.on("end", resolve);
        stream.on("error", (error) => reject(broken(image, error)));
        stream.on("close", () => reject(broken(image)));
      });
      await abortable(ended, signal);
    } finally {
      clearTimeout(silence);
      // Cancels the request if it is not finished.
      silent.abort();
    }
    if (fault !== undefined) throw fault;
  }
}

function broken(image: string, cause?: unknown): TargetError {
  const why = cause === undefined ? "the engine's answer ended early" : messageOf(cause);
  return new TargetError("unreachable", `the pull of image ${image} was cut off: ${why}`, { cause });
}

function errorIn(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("error" in value)) return undefined;
  return typeof value.error === "string" ? value.error : "the engine gives no reason";
}
