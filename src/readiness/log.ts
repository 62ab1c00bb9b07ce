import { stripVTControlCharacters } from "node:util";
import type { Target } from "../activation/target.ts";
import { TargetError } from "../errors.ts";
import { AnsweredError, type NamedProbe, until } from "./probe.ts";

/** A stream that was cut without a word looks like a target that prints nothing: after so long it is read anew. */
const SILENCE_MS = 10_000;

/**
 * Ready when the target has printed a line, in its present life, that `pattern` matches. Lines are matched as a
 * terminal shows them, without colours. Each reading begins with the first line of that life, so that nothing printed
 * between two readings is missed.
 */
export function logProbe(target: Target, pattern: string): NamedProbe {
  const expression = new RegExp(pattern);
  /** What was printed stays printed, also when the log has been rotated since. */
  let matchedLife: string | undefined;
  return {
    name: `log /${pattern}/`,
    check: (_upstream, signal) =>
      until(
        async (attemptSignal) => {
          const status = await target.inspect(attemptSignal);
          if (!status.up) throw new Error(`${target.name} is not up`);
          if (status.incarnation === matchedLife) return;
          if (!(await prints(target, status.incarnation, expression, attemptSignal))) {
            throw new AnsweredError(`no line of the log matches /${pattern}/`);
          }
          matchedLife = status.incarnation;
        },
        signal,
        isFinal,
      ),
  };
}

/** Reads until a line matches, or there is nothing more to read. */
async function prints(target: Target, incarnation: string, expression: RegExp, signal: AbortSignal): Promise<boolean> {
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

/** A log that may not be read, or that nobody keeps, never has the line. */
function isFinal(error: unknown): boolean {
  return error instanceof TargetError && (error.fault === "denied" || error.fault === "invalid");
}
