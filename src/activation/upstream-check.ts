import { abortable, delay, timerMs } from "../async/wait.ts";
import { INSPECT_TIMEOUT_MS } from "./inspector.ts";
import type { OrderedInspection } from "./ordered-inspection.ts";
import type { Probe, Target, TargetStatus, Upstream } from "./target.ts";

/** Time for which a client waits for a route to the target. */
const ROUTE_WAIT_MS = 3_000;
const ROUTE_RETRY_MS = 100;

export interface UpstreamCheckOptions {
  readonly target: Target;
  readonly inspection: OrderedInspection;
  readonly probe: () => Probe;
  /** Deadline of a check, in milliseconds. */
  readonly limitMs: () => number;
  readonly timeoutError: () => Error;
  /** Whether a paused target may be unpaused, which starts it if it went down since the inspection. */
  readonly mayUnpause: () => boolean;
  /** Ends the call that started the target, if it is still open. @returns resolves after the call */
  readonly endStartCall: () => Promise<void> | undefined;
  /** Called with each status. @returns where the target is probed, or undefined if it is down */
  readonly onStatus: (status: TargetStatus | undefined) => Upstream | undefined;
}

interface Check {
  readonly done: Promise<void>;
  readonly limit: AbortController;
}

/**
 * Checks a ready target that does not accept connections: whether it is still up, and answers in time. A target that
 * another process paused is unpaused. Concurrent calls share one check.
 */
export class UpstreamCheck {
  readonly #options: UpstreamCheckOptions;
  #startCall: Promise<void> | undefined;
  /** Ends the probe under way. */
  #moved = new AbortController();
  #current: Check | undefined;

  constructor(options: UpstreamCheckOptions) {
    this.#options = options;
  }

  get isUnderWay(): boolean {
    return this.#current !== undefined;
  }

  /** Resolves after the current call to unpause the target, even an aborted one; undefined otherwise. */
  get startCall(): Promise<void> | undefined {
    return this.#startCall;
  }

  /** Resolves when the target answers or is known to be down. @throws the timeout error; the reason of `end` */
  run(): Promise<void> {
    this.#current ??= this.#begin();
    const check = this.#current;
    return check.done.finally(() => {
      if (this.#current === check) this.#current = undefined;
    });
  }

  /** The target's address changed: it is probed at the new one. */
  move(): void {
    this.#moved.abort();
  }

  /** Ends the check under way. */
  end(reason?: Error): void {
    this.#current?.limit.abort(reason);
    this.#current = undefined;
  }

  #begin(): Check {
    const { limitMs, timeoutError } = this.#options;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(timeoutError()), timerMs(limitMs()));
    limit.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    return { done: this.#check(limit.signal).finally(() => clearTimeout(timer)), limit };
  }

  async #check(limit: AbortSignal): Promise<void> {
    const { onStatus, mayUnpause, endStartCall } = this.#options;
    const status = await this.#inspect(limit);
    let upstream = onStatus(status);
    limit.throwIfAborted();
    if (status?.up === false && status.pausedIncarnation !== undefined && mayUnpause()) {
      const startCall = endStartCall();
      if (startCall !== undefined) await abortable(startCall, limit);
      await abortable(this.#unpause(limit), limit);
      upstream = onStatus(await this.#inspect(limit));
    }
    while (upstream !== undefined) {
      upstream = await this.#waitForRoute(upstream, limit);
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

  /** A container that is moved between networks has no address for a moment. @throws the reason of the missing route */
  async #waitForRoute(first: Upstream | undefined, limit: AbortSignal): Promise<Upstream | undefined> {
    let upstream = first;
    for (let waitedMs = 0; upstream?.noRoute !== undefined; waitedMs += ROUTE_RETRY_MS) {
      if (waitedMs >= ROUTE_WAIT_MS) throw upstream.noRoute;
      await delay(ROUTE_RETRY_MS, limit);
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

  /** @returns undefined if the status is unknown @throws the reason of `limit` */
  async #inspect(limit: AbortSignal): Promise<TargetStatus | undefined> {
    const signal = AbortSignal.any([limit, AbortSignal.timeout(INSPECT_TIMEOUT_MS)]);
    const status = await this.#options.inspection.inspect(signal).catch(() => undefined);
    limit.throwIfAborted();
    return status;
  }
}
