/**
 * Pulls images: one pull for all who wait for the same image. It belongs to none of them, so it goes on when they give
 * up, and the next one who asks finds it further on, or done.
 */
import { abortable } from "../async/wait.ts";
import { messageOf, TargetError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { JsonLines } from "./json-lines.ts";
import { pullFault } from "./pull-faults.ts";
import { PullProgress } from "./pull-progress.ts";
import type { EngineObserver } from "./reports.ts";

/** An engine that tells no progress for so long has lost its registry. Large layers tell of their unpacking, too. */
const SILENCE_MS = 60_000;
const TELL_EVERY_MS = 5_000;

interface Pull {
  readonly done: Promise<void>;
  readonly progress: PullProgress;
}

export interface PullsOptions {
  readonly engine: Pick<Engine, "pull">;
  readonly observer: EngineObserver;
  /** Default: a minute. */
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
   * @throws TargetError that says why it cannot be had; the reason of `signal`, with the pull going on
   */
  async pull(image: string, signal: AbortSignal): Promise<void> {
    await abortable((this.#running.get(image) ?? this.#begin(image)).done, signal);
  }

  /** For people, how far a pull is: `image nginx:1.27 (43 %, 12 of 30 MB)`; undefined when there is none. */
  describe(image: string): string | undefined {
    const pull = this.#running.get(image);
    if (pull === undefined) return undefined;
    const { words } = pull.progress;
    return words === "" ? `image ${image}` : `image ${image} (${words})`;
  }

  /** Gives up all that is under way; the engine drops what it has not finished. */
  close(): void {
    this.#closing.abort(new TargetError("failed", "no image is pulled any more: wakeport ends"));
  }

  #begin(image: string): Pull {
    const progress = new PullProgress();
    const done = this.#pull(image, progress).finally(() => this.#running.delete(image));
    // Who waits is told; that nobody waits any more is no fault.
    done.catch(() => {});
    const pull = { done, progress };
    this.#running.set(image, pull);
    return pull;
  }

  async #pull(image: string, progress: PullProgress): Promise<void> {
    const { observer } = this.#options;
    const began = performance.now();
    const tell = (stage: "begun" | "under way" | "done" | "failed", error?: Error): void =>
      observer.pull({
        image,
        stage,
        durationMs: performance.now() - began,
        doneBytes: progress.doneBytes,
        totalBytes: progress.totalBytes,
        ...(error && { error }),
      });
    tell("begun");
    const teller = setInterval(() => tell("under way"), TELL_EVERY_MS);
    try {
      await this.#follow(image, progress);
      tell("done");
    } catch (error) {
      if (!this.#closing.signal.aborted) tell("failed", error as Error);
      throw error;
    } finally {
      clearInterval(teller);
    }
  }

  /** Reads the engine's report to its end; an error in it ends the pull although the answer began well. */
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
      const said = errorIn(value);
      if (said !== undefined) fault ??= pullFault(image, said);
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
      // Takes the request back where it is not over.
      silent.abort();
    }
    if (fault !== undefined) throw fault;
  }
}

function broken(image: string, cause?: unknown): TargetError {
  const why = cause === undefined ? "the engine's answer broke off" : messageOf(cause);
  return new TargetError("unreachable", `the pull of image ${image} was cut off: ${why}`, { cause });
}

function errorIn(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("error" in value)) return undefined;
  return typeof value.error === "string" ? value.error : "the engine does not say why";
}
