/** Reads the output of containers from the engine. */
import { callOn, type EngineCalls } from "./call.ts";
import type { ContainerFacts } from "./container-facts.ts";
import { LogFrames } from "./log-frames.ts";

const TAIL_MS = 10_000;

export class ContainerLogs {
  readonly #calls: EngineCalls;

  constructor(calls: EngineCalls) {
    this.#calls = calls;
  }

  /**
   * Returns the last lines of a container's output, oldest first.
   *
   * @param limits maximum number of lines; `since` is Unix time in seconds
   * @throws TargetError
   */
  async tail(
    container: ContainerFacts,
    { lines, since }: { readonly lines: number; readonly since?: number },
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const begin = since === undefined ? {} : { since: since.toFixed(3) };
    const query = { stdout: true, stderr: true, tail: lines, follow: false, ...begin } as const;
    const log = await this.#calls.call(callOn("logs", container, TAIL_MS, signal), (abort) =>
      this.#calls.docker.getContainer(container.id).logs({ ...query, ...abort }),
    );
    const text = container.hasTty ? log.toString() : withoutFrames(log);
    return text.split(/\r?\n/).filter((line) => line !== "");
  }

  /**
   * Opens a stream of a container's output, in frames unless it has a terminal. The stream ends with the container's
   * incarnation, or earlier.
   *
   * @param since Unix time in seconds
   * @throws TargetError, "denied" or "invalid" if the log can never be read
   */
  async follow(container: ContainerFacts, since: number, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const query = { stdout: true, stderr: true, follow: true, since: since.toFixed(3) } as const;
    return this.#calls.call(callOn("logs", container, TAIL_MS, signal), ({ abortSignal }) =>
      this.#calls.streams
        .getContainer(container.id)
        .logs({ ...query, abortSignal: AbortSignal.any([abortSignal, signal]) }),
    );
  }
}

function withoutFrames(log: Buffer): string {
  const parts: Uint8Array[] = [];
  new LogFrames((bytes) => parts.push(bytes)).push(log);
  return Buffer.concat(parts).toString();
}
