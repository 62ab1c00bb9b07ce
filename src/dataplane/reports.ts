/**
 * What the worker reports: numbers in the order of the events, because thousands may follow each other at once, and a
 * slot may be used again in the same list.
 */
import type { SocketAddress } from "../net/addresses.ts";
import type { RelayEnd } from "../net/relay.ts";
import { relayEnds } from "./commands.ts";
import { addressOf } from "./socket-address.ts";

/** A connection that the worker accepted. */
export interface AcceptedFacts {
  /** Time of the accept: Unix time in milliseconds. */
  readonly since: number;
  /** Milliseconds until the upstream was connected; undefined if the client left before. */
  readonly waitMs: number | undefined;
  readonly peer: SocketAddress;
}

/** Receives the reports. A listener is identified by the slot of its `listen`. */
export interface ReportHandler {
  /** The upstream of an accepted client is connected, or the client left before. */
  accepted(slot: number, listener: number, facts: AcceptedFacts): void;
  ended(slot: number, end: RelayEnd, bytesIn: number, bytesOut: number): void;
  /**
   * A client must be served in another way.
   *
   * @param slot undefined if the connection was not reported
   * @param fd the client's socket, which the main thread closes
   */
  returned(listener: number, slot: number | undefined, fd: number): void;
  /** The worker cannot accept more clients of a listener. */
  full(listener: number): void;
  /** An `unlisten` was carried out. @param open number of the listener's open connections */
  unlistened(listener: number, open: number): void;
  /** A listener accepts no more clients, and its last connection has ended. Nothing follows about it. */
  over(listener: number): void;
}

const kinds = { accepted: 0, ended: 1, returned: 2, full: 3, unlistened: 4, over: 5 } as const;
/** Numbers after the kind. */
const lengths = [9, 4, 3, 1, 2, 1] as const;
const NONE = -1;

export class Reports {
  #numbers: number[] = [];

  get isEmpty(): boolean {
    return this.#numbers.length === 0;
  }

  /** Returns the reports since the last call. */
  take(): readonly number[] {
    const numbers = this.#numbers;
    this.#numbers = [];
    return numbers;
  }

  /** @param peer see `numbersOf` */
  accepted(slot: number, listener: number, since: number, waitMs: number | undefined, peer: readonly number[]): void {
    const [first = 0, second = 0, third = 0, fourth = 0, port = 0] = peer;
    this.#numbers.push(kinds.accepted, slot, listener, since, waitMs ?? NONE, first, second, third, fourth, port);
  }

  ended(slot: number, end: RelayEnd, bytesIn: number, bytesOut: number): void {
    this.#numbers.push(kinds.ended, slot, relayEnds.indexOf(end), bytesIn, bytesOut);
  }

  returned(listener: number, slot: number | undefined, fd: number): void {
    this.#numbers.push(kinds.returned, listener, slot ?? NONE, fd);
  }

  full(listener: number): void {
    this.#numbers.push(kinds.full, listener);
  }

  unlistened(listener: number, open: number): void {
    this.#numbers.push(kinds.unlistened, listener, open);
  }

  over(listener: number): void {
    this.#numbers.push(kinds.over, listener);
  }
}

/** Calls the handler for each report, in order. */
export function readReports(numbers: readonly number[], handler: ReportHandler): void {
  for (let at = 0; at < numbers.length; ) {
    const kind = numbers[at]!;
    readOne(kind, numbers, at + 1, handler);
    at += 1 + lengths[kind as 0]!;
  }
}

function readOne(kind: number, numbers: readonly number[], at: number, handler: ReportHandler): void {
  const number = (index: number): number => numbers[at + index]!;
  switch (kind) {
    case kinds.accepted: {
      const peer = addressOf(numbers.slice(at + 4, at + 8), number(8));
      const waitMs = number(3) === NONE ? undefined : number(3);
      return handler.accepted(number(0), number(1), { since: number(2), waitMs, peer });
    }
    case kinds.ended:
      return handler.ended(number(0), relayEnds[number(1)]!, number(2), number(3));
    case kinds.returned:
      return handler.returned(number(0), number(1) === NONE ? undefined : number(1), number(2));
    case kinds.full:
      return handler.full(number(0));
    case kinds.unlistened:
      return handler.unlistened(number(0), number(1));
    default:
      return handler.over(number(0));
  }
}
