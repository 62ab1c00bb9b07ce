import { abortable } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import { LogFrames } from "../docker/log-frames.ts";
import { LineReader, MAX_MATCHED } from "./lines.ts";

/** No start is known that takes longer from its first line to its end. */
const MAX_MARGIN_MS = 5_000;

/**
 * Tells each line that a container printed in its present life, and prints from now on, until that life is over or the
 * stream is cut off.
 *
 * @throws TargetError; the reason of `signal`
 */
export async function followLog(
  engine: Engine,
  facts: ContainerFacts,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const stream = await engine.followLog(facts, beginOfLife(facts) / 1000, signal);
  const newReader = (): LineReader => new LineReader(onLine, { longest: MAX_MATCHED, onUnfinished: onLine });
  const [output, errors] = [newReader(), newReader()];
  const frames = new LogFrames((bytes, isError) => (isError ? errors : output).push(bytes));
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  stream.on("error", () => {}); // It is closed then, too.
  stream.on("data", (chunk: Buffer) => (facts.hasTty ? output : frames).push(chunk));
  // What follows the last line end is no line: it may have been cut off.
  await abortable(closed, signal);
}

/**
 * From when on lines belong to the present life, in Unix milliseconds. The engine notes the start when it is done with
 * it: the first line is mostly older than that, by up to 7 ms on a quiet machine. The last lines of the life before may
 * be younger than its end in the same way. Half of the time between the two, some 100 ms at least, divides them well.
 */
export function beginOfLife({ startedAt, finishedAt }: Pick<ContainerFacts, "startedAt" | "finishedAt">): number {
  const started = Date.parse(startedAt);
  const downMs = Math.max(0, started - (Date.parse(finishedAt) || started));
  return started - Math.min(downMs / 2, MAX_MARGIN_MS);
}
