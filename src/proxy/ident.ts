/**
 * Queries the ident server on a client's machine for the user that opened the connection.
 *
 * @see RFC 1413
 */
import net from "node:net";
import { codeOf, messageOf } from "../errors.ts";
import { plainAddress, type SocketAddresses } from "../net/addresses.ts";
import { closeGracefully } from "../net/close.ts";
import { escapeControls } from "../net/escape.ts";
import { ranks, type Slot, SlotError, Slots } from "./admission/slots.ts";

const IDENT_PORT = 113;
/** Deadline from the connect to the end of the answer. */
const ANSWER_MS = 5_000;
/** The limit of xinetd. At the limit, the oldest query of the source with most queries is evicted. */
export const MAX_QUERIES = 15;
/** The longest answer of RFC 1413. */
const MAX_BYTES = 1_000;

/** `answer`: operating system and user in the server's own form (`UNIX : alice`). `trouble`: why there is no answer. */
export type IdentAnswer = { readonly answer: string } | { readonly trouble: string };

export class Ident {
  readonly #port: number;
  readonly #answerMs: number;
  readonly #open = new Set<net.Socket>();
  readonly #slots = new Slots({ limit: MAX_QUERIES, what: "ident queries" });

  /** @param port of the ident servers */
  constructor(port: number = IDENT_PORT, answerMs: number = ANSWER_MS) {
    this.#port = port;
    this.#answerMs = answerMs;
  }

  /** Queries the user of one connection. Never rejects. */
  query(addresses: SocketAddresses): Promise<IdentAnswer> {
    const { promise, resolve } = Promise.withResolvers<IdentAnswer>();
    let slot: Slot;
    try {
      slot = this.#slots.take({ service: "", source: addresses.peer.address });
    } catch (error) {
      if (!(error instanceof SlotError)) throw error;
      return Promise.resolve({ trouble: `not queried: limit of ${MAX_QUERIES} open queries reached` });
    }
    const socket = this.#connect(addresses);
    this.#open.add(socket);
    let received = "";
    const end = (answer: IdentAnswer): void => {
      if (!this.#open.delete(socket)) return;
      clearTimeout(timer);
      slot[Symbol.dispose]();
      socket.removeAllListeners("data");
      if (socket.connecting) socket.destroy();
      else closeGracefully(socket);
      resolve(answer);
    };
    const timer = setTimeout(() => end({ trouble: `no answer within ${this.#answerMs / 1000} s` }), this.#answerMs);
    slot.offer(
      () => ranks.waiting,
      () => end({ trouble: "evicted for a query about another client" }),
    );
    socket.setEncoding("latin1");
    socket.on("connect", () => socket.write(`${addresses.peer.port},${addresses.local.port}\r\n`));
    socket.on("data", (chunk: string) => {
      received += chunk;
      const lineEnd = received.search(/[\r\n]/);
      if (lineEnd >= 0 && lineEnd <= MAX_BYTES) end(readAnswer(received.slice(0, lineEnd), addresses));
      else if (received.length > MAX_BYTES) end({ trouble: `the answer is longer than ${MAX_BYTES} bytes` });
    });
    socket.on("end", () => end(received === "" ? { trouble: "no answer" } : readAnswer(received, addresses)));
    socket.on("error", (error) => end({ trouble: codeOf(error) ?? messageOf(error) }));
    socket.on("close", () => end({ trouble: "no answer" }));
    return promise;
  }

  /** Ends all queries without an answer. */
  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** Connects from the client's local address: an ident server answers only about connections between the query's addresses. */
  #connect({ peer, local }: SocketAddresses): net.Socket {
    return net.connect({
      host: plainAddress(peer.address),
      port: this.#port,
      localAddress: plainAddress(local.address),
    });
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
  if (remotePort === undefined) return { trouble: `not an answer of RFC 1413: ${shown}` };
  if (Number(remotePort) !== peer.port || Number(localPort) !== local.port) {
    return { trouble: `the answer is about another connection: ${shown}` };
  }
  if (kind.toUpperCase() !== "USERID" || !rest.includes(":")) return { trouble: shown };
  return { answer: escapeControls(rest) };
}
