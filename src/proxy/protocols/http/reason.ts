import {
  ClosedError,
  CooldownError,
  DependencyError,
  ExitedError,
  StartFailedError,
  StartTimeoutError,
} from "../../../activation/errors.ts";

/** Seconds after which a client may try again when nobody knows better. */
const LATER_S = 10;

const sentences = [
  [StartTimeoutError, "It was not ready in time."],
  [ExitedError, "It ended while it was starting."],
  [CooldownError, "It failed to start a moment ago."],
  [DependencyError, "Something that it needs could not be started."],
  [ClosedError, "It is being shut down, or changed."],
  [StartFailedError, "It could not be started."],
] as const;

/** Why a client is not served, for strangers: no names, paths or words of the engine. The log has those. */
export function reasonFor(error: unknown): string {
  return sentences.find(([kind]) => error instanceof kind)?.[1] ?? "It does not answer.";
}

/** In how many seconds it is of use to try again. @param until when the next start is due, in Unix milliseconds */
export function retryAfter(until: number | undefined): number {
  return until === undefined ? LATER_S : Math.max(1, Math.ceil((until - Date.now()) / 1000));
}

/** The same as a sentence. */
export function whenAgain(seconds: number): string {
  return `Try again in ${seconds} s.`;
}
