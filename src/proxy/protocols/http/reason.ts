import {
  ClosedError,
  CooldownError,
  DependencyError,
  ExitedError,
  StartFailedError,
  StartTimeoutError,
} from "../../../activation/errors.ts";

/** Seconds after which a client may try again if no cooldown is active. */
const LATER_S = 10;

const sentences = [
  [StartTimeoutError, "It was not ready in time."],
  [ExitedError, "It ended while it was starting."],
  [CooldownError, "It failed to start a moment ago."],
  [DependencyError, "One of its dependencies could not be started."],
  [ClosedError, "It is being shut down, or changed."],
  [StartFailedError, "It could not be started."],
] as const;

/** Returns the reason without names, paths and messages of the engine. The log has those. */
export function reasonFor(error: unknown): string {
  return sentences.find(([kind]) => error instanceof kind)?.[1] ?? "It does not answer.";
}

/** Returns the seconds until the next start is possible. @param until the end of the cooldown, in Unix milliseconds */
export function retryAfter(until: number | undefined): number {
  return until === undefined ? LATER_S : Math.max(1, Math.ceil((until - Date.now()) / 1000));
}

/** Returns the same as a sentence. */
export function whenAgain(seconds: number): string {
  return `Try again in ${seconds} s.`;
}
