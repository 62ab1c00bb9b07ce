/**
 * Queries the ident server on a client's machine for the user that opened the connection.
 *
 * @see RFC 1413
 */
import { codeOf, DeadlineError, messageOf } from "../errors.ts";
import { plainAddress, type SocketAddresses } from "../net/addresses.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { escapeControls } from "../net/escape.ts";
import { PeekError, peek } from "../net/peek.ts";
import { ranks, SlotError, Slots } from "./admission/slots.ts";

const IDENT_PORT = 113;
/** Deadline from the connect to the end of the answer. */
const ANSWER_MS = 5_000;
/** The limit of xinetd. At the limit, the oldest query of the source with most queries is evicted. */
export const MAX_QUERIES = 15;
/** The longest answer of RFC 1413, without its line end. */
const MAX_BYTES = 1_000;

/** `answer`: operating system and user in the server's own form (`UNIX : alice`). `failure`: why there is no answer. */
export type IdentAnswer = { readonly answer: string } | { readonly failure: string };

export class Ident {
  readonly #port: number;
  readonly #answerMs: number;
  readonly #closed = new AbortController();
  readonly #slots = new Slots({ limit: MAX_QUERIES, what: "ident queries" });

  /** @param port of the ident servers */
  constructor(port: number = IDENT_PORT, answerMs: number = ANSWER_MS) {
    this.#port = port;
    this.#answerMs = answerMs;
  }

  /** Queries the user of one connection. Never rejects. */
  async query(addresses: SocketAddresses): Promise<IdentAnswer> {
    const evicted = new AbortController();
    try {
      using slot = this.#slots.take({ service: "", source: addresses.peer.address });
      slot.offer(
        () => ranks.waiting,
        () => evicted.abort(new Error("evicted for a query about another client")),
      );
      const signal = AbortSignal.any([this.#closed.signal, evicted.signal]);
      return readAnswer(await this.#lineOf(addresses, signal), addresses);
    } catch (error) {
      return { failure: this.#failureOf(error) };
    }
  }

  /** Ends all queries without an answer. */
  close(): void {
    this.#closed.abort(new Error("no answer"));
  }

  /** Connects from the client's local address: an ident server answers only about connections between the query's addresses. */
  async #lineOf({ peer, local }: SocketAddresses, signal: AbortSignal): Promise<string> {
    const began = performance.now();
    const [host, localAddress] = [plainAddress(peer.address), plainAddress(local.address)];
    const socket = await dial({ host, port: this.#port, timeoutMs: this.#answerMs, signal, localAddress });
    let received = "";
    const read = (bytes: Buffer): { value: string; used: number } | undefined => {
      received = bytes.toString("latin1");
      const end = received.search(/[\r\n]/);
      return end < 0 ? undefined : { value: received.slice(0, end), used: bytes.length };
    };
    try {
      socket.on("error", () => {});
      socket.write(`${peer.port},${local.port}\r\n`);
      const deadlineMs = Math.max(0, this.#answerMs - (performance.now() - began));
      return await peek(socket, { read, limit: MAX_BYTES + 1, deadlineMs, signal });
    } catch (error) {
      if (socket.errored !== null) throw socket.errored;
      if (error instanceof PeekError && error.reason === "ended" && received !== "") return received;
      throw error;
    } finally {
      closeGracefully(socket);
    }
  }

  #failureOf(error: unknown): string {
    if (error instanceof SlotError) return `not queried: limit of ${MAX_QUERIES} open queries reached`;
    const reason = error instanceof PeekError ? error.reason : undefined;
    if (reason === "too_late" || error instanceof DeadlineError) return `no answer within ${this.#answerMs / 1000} s`;
    if (reason === "too_long") return `the answer is longer than ${MAX_BYTES} bytes`;
    if (reason === "ended") return "no answer";
    return codeOf(error) ?? messageOf(error);
  }
}

/** The query about one client. Without an `Ident`, or if the client's address is unknown, nothing is queried or reported. */
export class UserIdQuery {
  readonly #answer: Promise<IdentAnswer> | undefined;

  /** Begins at once: a machine knows the user of a connection only while the connection exists. */
  constructor(ident: Ident | undefined, addresses: SocketAddresses) {
    this.#answer = addresses.peer.address === "" ? undefined : ident?.query(addresses);
  }

  /** Passes the answer to `to`; resolves at once if nothing is queried. */
  async report(to: (answer: IdentAnswer) => void): Promise<void> {
    if (this.#answer !== undefined) to(await this.#answer);
  }
}

/** Parses `6193, 23 : USERID : UNIX : alice` */
export function readAnswer(line: string, { peer, local }: SocketAddresses): IdentAnswer {
  const shown = escapeControls(line);
  const [, remotePort, localPort, kind = "", rest = ""] =
    /^\s*(\d+)\s*,\s*(\d+)\s*:\s*([^:]*?)\s*(?::\s*(.*))?$/s.exec(line) ?? [];
  if (remotePort === undefined) return { failure: `not an answer of RFC 1413: ${shown}` };
  if (Number(remotePort) !== peer.port || Number(localPort) !== local.port) {
    return { failure: `the answer is about another connection: ${shown}` };
  }
  if (kind.toUpperCase() !== "USERID" || !rest.includes(":")) return { failure: shown };
  return { answer: escapeControls(rest) };
}
