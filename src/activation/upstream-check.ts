import { abortable } from "../async/wait.ts";
import { INSPECT_TIMEOUT_MS } from "./inspector.ts";
import type { Probe, Target, TargetStatus, Upstream } from "./target.ts";

/** How long a client waits for a route to the target. */
const ROUTE_MS = 3_000;
const ROUTE_RETRY_MS = 100;

export interface UpstreamCheckOptions {
  readonly target: Target;
  readonly probe: () => Probe;
  /** What the check may take in all, in milliseconds. */
  readonly limitMs: () => number;
  readonly timeoutError: () => Error;
  /** Whether a paused target may be unpaused, which starts it if it went down since the look. */
  readonly mayUnpause: () => boolean;
  /** Called with what a look told; answers where the target is to be probed, undefined when it is down. */
  readonly onStatus: (status: TargetStatus | undefined) => Upstream | undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Is a target that does not take connections, although it is ready, still up, and does it answer in time? One that
 * somebody paused is thawed. One check serves all who ask meanwhile.
 */
export class UpstreamCheck {
  readonly #options: UpstreamCheckOptions;
  #startCall: Promise<void> | undefined;
  /** Ends the probe under way. */
  #moved = new AbortController();
  #underWay: { readonly done: Promise<void>; readonly limit: AbortController } | undefined;

  constructor(options: UpstreamCheckOptions) {
    this.#options = options;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** Pending while a call to thaw the target is, even one that was given up; undefined when there is none. */
  get startCall(): Promise<void> | undefined {
    return this.#startCall;
  }

  /** Resolves when the target answers, or is known to be down. @throws the error of the timeout; the reason of `end` */
  run(): Promise<void> {
    this.#underWay ??= this.#begin();
    const check = this.#underWay;
    return check.done.finally(() => {
      if (this.#underWay === check) this.#underWay = undefined;
    });
  }

  /** Sets the target's new address: a probe of the old address is replaced by one of the new address. */
  move(): void {
    this.#moved.abort();
  }

  /** Gives the check under way up. */
  end(reason?: Error): void {
    this.#underWay?.limit.abort(reason);
    this.#underWay = undefined;
  }

  #begin(): { readonly done: Promise<void>; readonly limit: AbortController } {
    const { limitMs, timeoutError } = this.#options;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(timeoutError()), limitMs());
    limit.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    return { done: this.#check(limit.signal).finally(() => clearTimeout(timer)), limit };
  }

  async #check(limit: AbortSignal): Promise<void> {
    const { onStatus, mayUnpause } = this.#options;
    const status = await this.#inspect(limit);
    limit.throwIfAborted();
    let upstream = onStatus(status);
    limit.throwIfAborted();
    if (status?.up === false && status.pausedIncarnation !== undefined && mayUnpause()) {
      await abortable(this.#unpause(limit), limit);
      const thawed = await this.#inspect(limit);
      limit.throwIfAborted();
      upstream = onStatus(thawed);
    }
    while (upstream !== undefined) {
      upstream = await this.#routed(upstream, limit);
      if (upstream === undefined || (await this.#answers(upstream, limit))) return;
      upstream = onStatus(await this.#inspect(limit));
      limit.throwIfAborted();
    }
  }

  /** Probes the target until it answers. @returns false if its address changed meanwhile */
  async #answers(upstream: Upstream, limit: AbortSignal): Promise<boolean> {
    const moved = new AbortController();
    this.#moved = moved;
    try {
      await this.#options.probe()(upstream, AbortSignal.any([limit, moved.signal]));
      return true;
    } catch (error) {
      limit.throwIfAborted();
      if (!moved.signal.aborted) throw error;
      return false;
    }
  }

  /** Waits, because a container that is moved between networks has no address for a moment. @throws why there is no route */
  async #routed(first: Upstream | undefined, limit: AbortSignal): Promise<Upstream | undefined> {
    let upstream = first;
    for (let waitedMs = 0; upstream?.noRoute !== undefined; waitedMs += ROUTE_RETRY_MS) {
      if (waitedMs >= ROUTE_MS) throw upstream.noRoute;
      await abortable(pause(ROUTE_RETRY_MS), limit);
      upstream = this.#options.onStatus(await this.#inspect(limit));
      limit.throwIfAborted();
    }
    return upstream;
  }

  #unpause(limit: AbortSignal): Promise<unknown> {
    const call = this.#options.target.start(limit);
    const over = (): void => {
      this.#startCall = undefined;
    };
    this.#startCall = call.then(over, over);
    return call;
  }

  #inspect(limit: AbortSignal): Promise<TargetStatus | undefined> {
    const signal = AbortSignal.any([limit, AbortSignal.timeout(INSPECT_TIMEOUT_MS)]);
    return this.#options.target.inspect(signal).catch(() => undefined);
  }
}
