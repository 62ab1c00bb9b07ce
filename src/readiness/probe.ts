import { StartTimeoutError } from "../activation/errors.ts";
import type { Probe } from "../activation/target.ts";
import { delay } from "../async/wait.ts";
import { codeOf, messageOf } from "../errors.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";

/**
 * Between two attempts: a twentieth of what has passed. So a client waits at most 5 % longer than its target took, on
 * average half of that; 5 ms at most for a quick target, 250 ms for one that takes more than 5 s. An attempt at a port
 * where nobody listens costs 0.1 ms of a processor: 2 % of it in the first tenth of a second, less and less after that.
 */
const MIN_DELAY_MS = 5;
const MAX_DELAY_MS = 250;
/** Limits attempts, which servers may log: at most 20 in the first second, 1 per second after 20 s. */
const MIN_ANSWERED_MS = 50;
const MAX_ANSWERED_MS = 1_000;

/** One part of being ready, with a name for people: `tcp 21`. */
export interface NamedProbe {
  readonly name: string;
  readonly check: Probe;
}

/** The end of a probe's name, of those that begin with a header of the PROXY protocol. */
export function afterHeader(send: ProxyVersion | undefined): string {
  return send === undefined ? "" : ` (PROXY ${send})`;
}

/** Somebody answered an attempt, but not as awaited. To ask at once again would only fill a log. */
export class AnsweredError extends Error {
  override readonly name = "AnsweredError";
}

/**
 * Repeats `attempt` until it does not throw.
 *
 * @param attempt may tell what it has met so far, in case that it is never finished
 * @throws the reason of `signal` when it is aborted, with what the last attempt met where that is a timeout; an error
 *   for which `isFinal` holds
 */
export async function until(
  attempt: (signal: AbortSignal, meets: (what: string) => void) => Promise<void>,
  signal: AbortSignal,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const began = performance.now();
  const known: Known = {};
  try {
    for (;;) {
      signal.throwIfAborted();
      let isAnswer = false;
      try {
        return await attempt(signal, (what) => {
          known.underWay = what;
        });
      } catch (error) {
        signal.throwIfAborted();
        if (isFinal(error)) throw error;
        isAnswer = error instanceof AnsweredError;
        if (isAnswer) known.answer = error;
        known.underWay = undefined;
        known.failure = error;
      }
      const [shortestMs, longestMs] = isAnswer ? [MIN_ANSWERED_MS, MAX_ANSWERED_MS] : [MIN_DELAY_MS, MAX_DELAY_MS];
      const pauseMs = (performance.now() - began) / 20;
      await delay(Math.min(Math.max(pauseMs, shortestMs), longestMs), signal);
    }
  } catch (error) {
    throw explained(error, known);
  }
}

/** Results of the attempts so far. */
interface Known {
  /** The last answer that did not show readiness. */
  answer?: unknown;
  /** Error of the last finished attempt. */
  failure?: unknown;
  /** Progress of the current attempt, if reported. */
  underWay?: string | undefined;
}

/** Describes a timeout by the last answer and the last attempt. Most timeouts come from a wrong port or path. */
function explained(error: unknown, { answer, failure, underWay }: Known): unknown {
  if (!(error instanceof StartTimeoutError)) return error;
  const last = underWay ?? (failure === undefined ? undefined : withRemedy(failure));
  if (last === undefined) return error;
  const isLast = answer === undefined || (underWay === undefined && answer === failure);
  const told = isLast ? last : `${messageOf(answer)}; the last attempt: ${last}`;
  return new StartTimeoutError(`${error.message}: ${told}`, { cause: failure });
}

/** A port is refused if it is wrong, or if the program listens only on the loopback address of its container. */
function withRemedy(failure: unknown): string {
  const message = messageOf(failure);
  if (codeOf(failure) !== "ECONNREFUSED") return message;
  return `${message} (nothing listens there: correct the port of the target, or let its program listen on 0.0.0.0)`;
}

/** All of `probes` must hold, each at least once, in any order; the first that fails for good ends all. */
export function all(probes: readonly NamedProbe[]): Probe {
  return async (upstream, signal, onPending = () => {}) => {
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    const pending = new Set(probes);
    const tell = (): void => onPending([...pending].map(({ name }) => name));
    const hold = async (probe: NamedProbe): Promise<void> => {
      try {
        await probe.check(upstream, both);
        pending.delete(probe);
        tell();
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    };
    tell();
    await Promise.all(probes.map(hold));
  };
}
