import { StartTimeoutError } from "../activation/errors.ts";
import type { Probe } from "../activation/run.ts";
import { delay } from "../async.ts";
import { messageOf } from "../errors.ts";

/** Between two attempts: a twentieth of what has passed, so that a quick target costs little and a slow one is not hammered. */
const SHORTEST_MS = 2;
const LONGEST_MS = 250;

/** One part of being ready, with a name for people: `tcp 21`. */
export interface NamedProbe {
  readonly name: string;
  readonly check: Probe;
}

/**
 * Repeats `attempt` until it does not throw.
 *
 * @throws the reason of `signal` when it is aborted, with what the last attempt met where that is a timeout; an error
 *   for which `isFinal` holds
 */
export async function until(
  attempt: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const began = performance.now();
  let last: unknown;
  try {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await attempt(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isFinal(error)) throw error;
        last = error;
      }
      const pauseMs = (performance.now() - began) / 20;
      await delay(Math.min(Math.max(pauseMs, SHORTEST_MS), LONGEST_MS), signal);
    }
  } catch (error) {
    throw explained(error, last);
  }
}

/** A timeout that says what it last met: most of them come from a wrong port or path. */
function explained(error: unknown, last: unknown): unknown {
  if (!(error instanceof StartTimeoutError) || last === undefined) return error;
  return new StartTimeoutError(`${error.message}: ${messageOf(last)}`, { cause: last });
}

/** All of `probes` must hold, each at least once, in any order. */
export function all(probes: readonly NamedProbe[]): Probe {
  return async (address, signal) => {
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    await Promise.all(
      probes.map((probe) =>
        probe.check(address, both).catch((error: unknown) => {
          failed.abort(error);
          throw error;
        }),
      ),
    );
  };
}
