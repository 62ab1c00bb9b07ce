import { StartTimeoutError } from "../activation/errors.ts";
import type { Probe } from "../activation/target.ts";
import { delay } from "../async/wait.ts";
import { codeOf, messageOf } from "../errors.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";

/** Delay before the next attempt. */
interface Pace {
  /** Part of the time since the first attempt. */
  readonly share: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * A client waits at most 1 % or 1 ms longer than its target takes. An attempt at a closed port costs 0.1 ms of CPU time:
 * 10 % of the first 100 ms, 33 ms in the first second, and 50 ms in the first ten.
 */
const REFUSED: Pace = { share: 1 / 100, minMs: 1, maxMs: 250 };
/** Limits attempts, which servers may log: at most 20 in the first second, 1 per second after 20 s. */
const ANSWERED: Pace = { share: 1 / 20, minMs: 50, maxMs: 1_000 };

/** One condition of readiness. */
export interface NamedProbe {
  /** For messages: `tcp 21`. */
  readonly name: string;
  readonly check: Probe;
}

/** Returns the end of the name of a probe that sends a header of the PROXY protocol. */
export function afterHeader(send: ProxyVersion | undefined): string {
  return send === undefined ? "" : ` (PROXY ${send})`;
}

/** The server answered, but it is not ready. The next attempt is delayed longer, because servers may log attempts. */
export class AnsweredError extends Error {
  override readonly name = "AnsweredError";
}

/** Results of the attempts so far. */
interface Results {
  /** The last answer that did not show readiness. */
  answer?: unknown;
  /** Error of the last finished attempt. */
  failure?: unknown;
  /** Progress of the current attempt, if reported. */
  progress?: string | undefined;
}

/**
 * Repeats `attempt` until it does not throw.
 *
 * @param attempt may report its progress, for the case that it does not finish
 * @throws the reason of `signal`, completed with the last results if it is a timeout; an error that `isFinal` accepts
 */
export async function retryUntilReady(
  attempt: (signal: AbortSignal, onProgress: (progress: string) => void) => Promise<void>,
  signal: AbortSignal,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const beganAt = performance.now();
  const results: Results = {};
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await attempt(signal, (progress) => {
          results.progress = progress;
        });
      } catch (error) {
        signal.throwIfAborted();
        if (isFinal(error)) throw error;
        if (error instanceof AnsweredError) results.answer = error;
        results.progress = undefined;
        results.failure = error;
      }
      const { share, minMs, maxMs } = results.failure instanceof AnsweredError ? ANSWERED : REFUSED;
      const delayMs = (performance.now() - beganAt) * share;
      await delay(Math.min(Math.max(delayMs, minMs), maxMs), signal);
    }
  } catch (error) {
    throw withResults(error, results);
  }
}

/** Describes a timeout by the last answer and the last attempt. Most timeouts come from a wrong port or path. */
function withResults(error: unknown, { answer, failure, progress }: Results): unknown {
  if (!(error instanceof StartTimeoutError)) return error;
  const last = progress ?? (failure === undefined ? undefined : withRemedy(failure));
  if (last === undefined) return error;
  const isLast = answer === undefined || (progress === undefined && answer === failure);
  const details = isLast ? last : `${messageOf(answer)}; the last attempt: ${last}`;
  return new StartTimeoutError(`${error.message}: ${details}`, { cause: failure });
}

/** A port is refused if it is wrong, or if the program listens only on the loopback address of its container. */
function withRemedy(failure: unknown): string {
  const message = messageOf(failure);
  if (codeOf(failure) !== "ECONNREFUSED") return message;
  return `${message} (nothing listens there: correct the port of the target, or let its program listen on 0.0.0.0)`;
}

/** Returns a probe that succeeds when each of `probes` has succeeded once, and fails with the first failure. */
export function all(probes: readonly NamedProbe[]): Probe {
  return async (upstream, signal, onPending = () => {}) => {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const pending = new Set(probes);
    const report = (): void => onPending([...pending].map(({ name }) => name));
    report();
    const checks = probes.map(async (probe) => {
      try {
        await probe.check(upstream, either);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
      pending.delete(probe);
      report();
    });
    await Promise.all(checks);
  };
}
