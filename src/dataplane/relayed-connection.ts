import { ExitedError, RenamedError } from "../activation/errors.ts";
import type { RelayEnd } from "../net/relay.ts";
import type { Command } from "./commands.ts";
import type { CountedBytes } from "./counted-bytes.ts";

export interface RelayedConnectionOptions {
  readonly slot: number;
  readonly counted: CountedBytes;
  /** Aborted when the target is lost: with ExitedError if it went down, with another reason to end now. */
  readonly lost: AbortSignal;
  readonly send: (command: Command) => void;
}

/** The main thread's part of a connection in the data plane. */
export class RelayedConnection {
  readonly counted: CountedBytes;
  readonly #options: RelayedConnectionOptions;
  readonly #result = Promise.withResolvers<RelayEnd>();
  /** Aborted when the renamed container of the target is down. */
  #down: AbortSignal | undefined;

  /** @param options `lost` must not be aborted yet */
  constructor(options: RelayedConnectionOptions) {
    this.#options = options;
    this.counted = options.counted;
    options.lost.addEventListener("abort", this);
  }

  /** Resolves when both sockets are closed. */
  get done(): Promise<RelayEnd> {
    return this.#result.promise;
  }

  end(end: RelayEnd): void {
    this.#options.lost.removeEventListener("abort", this);
    this.#down?.removeEventListener("abort", this);
    this.#result.resolve(end);
  }

  /** Called when the target, or its renamed container, is lost. */
  handleEvent(): void {
    const { slot, lost, send } = this.#options;
    const reason: unknown = lost.reason;
    if (!(reason instanceof ExitedError)) return send({ kind: "cut", slot, end: "drained" });
    if (!(reason instanceof RenamedError) || reason.down.aborted) return send({ kind: "targetGone", slot });
    this.#down = reason.down;
    reason.down.addEventListener("abort", this);
  }
}
