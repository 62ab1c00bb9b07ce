import { ExitedError, RenamedError } from "../activation/errors.ts";
import type { Meter, RelayEnd } from "../net/relay.ts";
import type { Command } from "./commands.ts";

export interface RelayedConnectionOptions {
  readonly slot: number;
  readonly meters: readonly Meter[];
  /** Aborted when the target is lost: with ExitedError if it went down, with another reason to end now. Not aborted yet. */
  readonly lost: AbortSignal;
  readonly send: (command: Command) => void;
  /** Called when both sockets are closed. */
  readonly onEnd: (end: RelayEnd) => void;
}

/** The main thread's part of a connection in the data plane. A quiet connection costs little more memory than this object. */
export class RelayedConnection {
  readonly #slot: number;
  readonly #meters: readonly Meter[];
  readonly #lost: AbortSignal;
  readonly #send: (command: Command) => void;
  readonly #onEnd: (end: RelayEnd) => void;
  #in = 0;
  #out = 0;
  /** Aborted when the renamed container of the target is down. */
  #down: AbortSignal | undefined;

  constructor({ slot, meters, lost, send, onEnd }: RelayedConnectionOptions) {
    this.#slot = slot;
    this.#meters = meters;
    this.#lost = lost;
    this.#send = send;
    this.#onEnd = onEnd;
    lost.addEventListener("abort", this);
  }

  /** Adds the bytes since the last call to the meters. @param bytesIn all bytes so far @param bytesOut all bytes so far */
  count(bytesIn: number, bytesOut: number): void {
    for (const meter of this.#meters) {
      meter.in += bytesIn - this.#in;
      meter.out += bytesOut - this.#out;
    }
    this.#in = bytesIn;
    this.#out = bytesOut;
  }

  end(end: RelayEnd): void {
    this.#lost.removeEventListener("abort", this);
    this.#down?.removeEventListener("abort", this);
    this.#onEnd(end);
  }

  /** Called when the target, or its renamed container, is lost. */
  handleEvent(): void {
    const reason: unknown = this.#lost.reason;
    if (!(reason instanceof ExitedError)) return this.#send({ kind: "cut", slot: this.#slot, end: "drained" });
    if (!(reason instanceof RenamedError) || reason.down.aborted) {
      return this.#send({ kind: "targetGone", slot: this.#slot });
    }
    this.#down = reason.down;
    reason.down.addEventListener("abort", this);
  }
}
