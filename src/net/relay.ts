/**
 * Copies between a client and an upstream until both directions are done.
 *
 * Hand-written, because what a reset means must survive the relay. An end of stream is passed on as a half-close, a
 * reset as a reset after what was received before it: a truncated file must not look whole. `pipe` twice hangs on a
 * reset, `stream.pipeline` turns it into a clean end.
 */
import type net from "node:net";
import { finished } from "node:stream";
import { ExitedError } from "../activation/errors.ts";
import { type Filter, Pump } from "./pump.ts";
import { isShuttingDown, reset } from "./reset.ts";
import { sendQueueEmpty } from "./send-queue.ts";

/** How long what we hold for one side may take to leave, once the other side was reset. */
const FLUSH_MS = 1_000;
/** How long a dead upstream may stay silent before we stop waiting for the end of its stream. */
const SILENCE_MS = 1_000;
/** How long a client of a dead upstream may take to read the next of its last words, and then to close. */
const LINGER_MS = 30_000;

/** How often somebody is looked at whose stream has ended. */
const LOOK_MS = 15_000;

/** Written behind all else, its callback tells when everything before it has left; and it fails where nobody is any more. */
const NOTHING = Buffer.alloc(0);

/** Bytes relayed so far, kept up to date while it happens. */
export interface Meter {
  /** From clients to upstreams. */
  in: number;
  /** From upstreams to clients. */
  out: number;
}

/**
 * Who ended a connection: both in good order, one with a reset, or wakeport because the target went down. A reset after
 * both sides sent a TLS close is `clean`.
 */
export type RelayEnd = "clean" | "client_reset" | "upstream_reset" | "target_gone" | "drained";

export interface RelayOptions {
  readonly client: net.Socket;
  readonly upstream: net.Socket;
  /** Of what clients say, and of what they are told. Absent: it is passed on as it is. */
  readonly filters?: Readonly<Partial<Record<keyof Meter, Filter>>>;
  /** Counts this connection, and what is counted with it. */
  readonly meters: readonly Meter[];
  /** Aborted when the target is lost: with ExitedError when it went down, with any other reason to end now. */
  readonly lost: AbortSignal;
}

/** Relays between two sockets; resolves when both are closed. Never rejects. */
export function relay(options: RelayOptions): Promise<RelayEnd> {
  return new Relay(options).done;
}

class Relay {
  readonly #client: net.Socket;
  readonly #upstream: net.Socket;
  readonly #meters: readonly Meter[];
  readonly #pumps: Readonly<Record<keyof Meter, Pump>>;
  readonly #result = Promise.withResolvers<RelayEnd>();
  #end: RelayEnd = "clean";
  #open = 2;
  #timer: NodeJS.Timeout | undefined;
  #probeTimer: NodeJS.Timeout | undefined;

  constructor({ client, upstream, meters, lost, filters = {} }: RelayOptions) {
    this.#client = client;
    this.#upstream = upstream;
    this.#meters = meters;
    this.#pumps = { in: new Pump(client, upstream, filters.in), out: new Pump(upstream, client, filters.out) };

    const onLost = (): void => (lost.reason instanceof ExitedError ? this.#targetGone() : this.#resetBoth("drained"));
    lost.addEventListener("abort", onLost, { once: true });
    this.#result.promise.finally(() => {
      clearTimeout(this.#timer);
      clearInterval(this.#probeTimer);
      lost.removeEventListener("abort", onLost);
    });

    this.#copy("in");
    this.#copy("out");
    this.#watch(client, upstream, "client_reset");
    this.#watch(upstream, client, "upstream_reset");
    if (lost.aborted) onLost();
  }

  get done(): Promise<RelayEnd> {
    return this.#result.promise;
  }

  #copy(direction: keyof Meter): void {
    this.#pumps[direction].run((bytes) => this.#count(direction, bytes));
  }

  #watch(socket: net.Socket, other: net.Socket, end: RelayEnd): void {
    if (socket.readableEnded) this.#detectDeadPeers();
    else socket.once("end", () => this.#detectDeadPeers());
    socket.on("error", () => {
      if (this.#end === "clean") this.#end = end;
      this.#forwardReceived(socket, other);
      resetAfterFlush(other);
    });
    const onClose = (): void => {
      // Closed before its stream ended, if only by us: the other side must not take that for an end.
      if (!socket.readableEnded) {
        if (this.#end === "clean") this.#end = end;
        resetAfterFlush(other);
      }
      this.#open -= 1;
      if (this.#open === 0) this.#result.resolve(this.#endOfBoth);
    };
    if (socket.closed) onClose();
    else socket.once("close", onClose);
  }

  /** A reset after both streams ended with a TLS close loses no data. */
  get #endOfBoth(): RelayEnd {
    const isReset = this.#end === "client_reset" || this.#end === "upstream_reset";
    return isReset && this.#pumps.in.isTlsClosed && this.#pumps.out.isTlsClosed ? "clean" : this.#end;
  }

  /**
   * From now on looks whether who has said all is still there. Node does not listen any more to a socket whose stream has
   * ended: neither a reset would be seen, nor that keep-alive has found nobody.
   */
  #detectDeadPeers(): void {
    this.#probeTimer ??= setInterval(() => {
      for (const socket of [this.#client, this.#upstream]) {
        if (socket.readableEnded && socket.writable && socket.writableLength === 0) socket.write(NOTHING);
      }
    }, LOOK_MS);
  }

  /** What a broken socket had received before it broke still belongs to the other side. */
  #forwardReceived(broken: net.Socket, other: net.Socket): void {
    const direction = broken === this.#client ? "in" : "out";
    const left: Buffer[] = [];
    for (let chunk = broken.read(); chunk !== null && other.writable; chunk = broken.read()) {
      this.#count(direction, chunk.length);
      left.push(chunk);
    }
    this.#pumps[direction].flush(Buffer.concat(left));
  }

  #count(direction: keyof Meter, bytes: number): void {
    for (const meter of this.#meters) meter[direction] += bytes;
  }

  #resetBoth(end: RelayEnd): void {
    this.#end = end;
    reset(this.#client);
    reset(this.#upstream);
  }

  /**
   * The target is down. What it sent may still be on its way to a slow client, so nothing is thrown away as long as that
   * moves; but the end of its stream may never arrive, because the network went with the container.
   */
  #targetGone(): void {
    if (this.#upstream.readableEnded) this.#drainClientAfterTargetExit();
    else this.#upstream.once("end", () => this.#drainClientAfterTargetExit());
    let moved = this.#bytesMoved;
    let idleMs = 0;
    this.#timer = setInterval(() => {
      idleMs = this.#bytesMoved === moved ? idleMs + SILENCE_MS : 0;
      moved = this.#bytesMoved;
      const isOwed = this.#upstream.readableEnded || this.#client.writableLength > 0;
      if (idleMs >= (isOwed ? LINGER_MS : SILENCE_MS)) this.#resetBoth("target_gone");
    }, SILENCE_MS);
  }

  /** Bytes that came from the upstream, and bytes that left for the client. */
  get #bytesMoved(): number {
    return this.#upstream.bytesRead + this.#client.bytesWritten - this.#client.writableLength;
  }

  /**
   * All that the upstream had to say is known. What the client says now reaches nobody, and neither does what was not sent
   * yet: it must not take that for said. So it is reset, as it would be without us; but only when it has said all where
   * there are last words, which a reset might overtake.
   */
  #drainClientAfterTargetExit(): void {
    const client = this.#client;
    const isLost = this.#upstream.writableLength > 0;
    const isWordless = this.#upstream.bytesRead === 0;
    this.#upstream.destroy();
    client.removeAllListeners("data");
    const onLoss = (): void => {
      this.#end = "target_gone";
      if (isWordless || client.readableEnded) resetAfterFlush(client, LINGER_MS);
      else client.once("end", () => resetAfterFlush(client, LINGER_MS));
    };
    if (isLost) onLoss();
    else client.once("data", onLoss);
    client.resume();
  }
}

/** Resets a connection once what was written to it, its end included, has arrived, or after that time. */
function resetAfterFlush(socket: net.Socket, limitMs = FLUSH_MS): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => reset(socket), limitMs);
  finished(socket, () => clearTimeout(timer));
  const onFlushed = (): void => void sendQueueEmpty(socket, limitMs).then(() => reset(socket));
  if (socket.writableLength === 0 && !isShuttingDown(socket)) onFlushed();
  else if (socket.writableEnded) socket.once("finish", onFlushed);
  else socket.write(NOTHING, onFlushed);
}
