/** Waits that end early with an AbortSignal, or late with a deadline. */
import { DeadlineError } from "../errors.ts";

/** The longest delay of a timer in milliseconds, 24.8 days: a timer with a longer delay fires at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Returns the delay in milliseconds, limited to the range of a timer. */
export function timerMs(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_TIMER_MS);
}

/** Settles like `promise`, or rejects with the reason of `signal` if it is aborted first. A later result is dropped. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Resolves after `ms` milliseconds. @throws the reason of `signal` if it is aborted earlier */
export async function delay(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timerMs(ms));
  await abortable(promise, signal).finally(() => clearTimeout(timer));
}

/**
 * Settles like `promise`, or rejects after `ms` milliseconds. A later result is dropped.
 *
 * @param what the operation, for the message: "the stop"
 * @throws DeadlineError; the reason of `signal` if it is aborted earlier
 */
export async function within<T>(ms: number, what: string, promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DeadlineError(`${what} took longer than ${ms / 1000} s`)), ms);
  const signals = signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]);
  return abortable(promise, signals).finally(() => clearTimeout(timer));
}
