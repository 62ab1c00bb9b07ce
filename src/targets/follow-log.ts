import { abortable } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import { LogFrames } from "../docker/log-frames.ts";
import { LineReader, MAX_MATCHED } from "./lines.ts";

/** Limit of the time from a container's first line to the recorded start. */
const MAX_MARGIN_MS = 5_000;

/**
 * Passes on the stored and the new lines of a container's current incarnation, until it ends or the stream is closed.
 *
 * @throws TargetError; the reason of `signal`
 */
export async function followLog(
  engine: Engine,
  facts: ContainerFacts,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const stream = await engine.logs.follow(facts, startOfLog(facts) / 1000, signal);
  const newReader = (): LineReader => new LineReader(onLine, { limit: MAX_MATCHED, onUnfinished: onLine });
  const [output, errors] = [newReader(), newReader()];
  const frames = new LogFrames((bytes, isError) => (isError ? errors : output).push(bytes));
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  // An error also closes the stream.
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => (facts.hasTty ? output : frames).push(chunk));
  // A line without its newline is dropped, because it may be incomplete.
  await abortable(closed, signal);
}

/**
 * Returns the Unix time in milliseconds from which lines belong to the current incarnation: halfway between its start
 * and the previous end. The engine records both up to 7 ms late, so a first line may be older than the recorded start.
 */
export function startOfLog({ startedAt, finishedAt }: Pick<ContainerFacts, "startedAt" | "finishedAt">): number {
  const started = Date.parse(startedAt);
  const downMs = Math.max(0, started - (Date.parse(finishedAt) || started));
  return started - Math.min(downMs / 2, MAX_MARGIN_MS);
}
