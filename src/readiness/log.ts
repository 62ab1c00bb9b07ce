import { stripVTControlCharacters } from "node:util";
import type { Target } from "../activation/target.ts";
import { TargetError } from "../errors.ts";
import { AnsweredError, type NamedProbe, retryUntilReady } from "./probe.ts";

/** A log stream that broke looks like a target without output, so it is opened again after this time without a line. */
const SILENCE_MS = 10_000;

/**
 * Returns a probe that succeeds when the target has written a line that matches `pattern` since its start. Lines are
 * matched without colours. Each reading begins with the first line, so that no line between two readings is missed.
 */
export function logProbe(target: Target, pattern: string): NamedProbe {
  const expression = new RegExp(pattern);
  /** A match stays valid for the run, even if the log is rotated later. */
  let matchedIncarnation: string | undefined;
  return {
    name: `log /${pattern}/`,
    check: (_upstream, signal) =>
      retryUntilReady(
        async (attemptSignal) => {
          const status = await target.inspect(attemptSignal);
          if (!status.up) throw new Error(`${target.name} is not up`);
          if (status.incarnation === matchedIncarnation) return;
          if (!(await hasMatch(target, status.incarnation, expression, attemptSignal))) {
            throw new AnsweredError(`no line of the log matches /${pattern}/`);
          }
          matchedIncarnation = status.incarnation;
        },
        signal,
        isFinal,
      ),
  };
}

/** Reads until a line matches or no more can be read. */
async function hasMatch(
  target: Target,
  incarnation: string,
  expression: RegExp,
  signal: AbortSignal,
): Promise<boolean> {
  const enough = new AbortController();
  const silence = setTimeout(() => enough.abort(), SILENCE_MS);
  let isFound = false;
  const onLine = (line: string): void => {
    silence.refresh();
    if (isFound || !expression.test(stripVTControlCharacters(line))) return;
    isFound = true;
    enough.abort();
  };
  try {
    await target.follow(incarnation, onLine, AbortSignal.any([signal, enough.signal]));
  } catch (error) {
    if (!enough.signal.aborted) throw error;
  } finally {
    clearTimeout(silence);
  }
  return isFound;
}

/** A log without read access, or with a driver that does not store it, will never contain the line. */
function isFinal(error: unknown): boolean {
  return error instanceof TargetError && (error.fault === "denied" || error.fault === "invalid");
}
