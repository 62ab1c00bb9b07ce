/**
 * Copies bytes between a client and an upstream until both are closed. A half-close stays a half-close and a reset
 * stays a reset, because a truncated file must not look complete: see docs/design/relay.md.
 */
import type net from "node:net";
import { finished } from "node:stream";
import { ExitedError, RenamedError } from "../activation/errors.ts";
import { type Filter, Pump } from "./pump.ts";
import { reset } from "./reset.ts";
import { delivered } from "./send-queue.ts";

/**
 * After a reset of one side: time without progress after which the other side is no longer expected to receive the
 * buffered bytes. After the target's exit: the same for the end of its stream.
 */
const SILENCE_MS = 1_000;
/** Limit of the whole wait after a reset. After the target's exit: time for the client to read the next bytes, and then to close. */
const LINGER_MS = 30_000;

/** Interval of the probes of a side whose stream has ended. */
const PROBE_MS = 15_000;

/** An empty write: its callback runs when all bytes before it are sent, and it fails if the peer is gone. */
const NOTHING = Buffer.alloc(0);

/** Relayed bytes, updated continuously. */
export interface Meter {
  /** From clients to upstreams. */
  in: number;
  /** From upstreams to clients. */
  out: number;
}

/**
 * What ended a connection: both sides closed it, one side reset it, or the target went down. A reset after both sides
 * sent a TLS close is `clean`.
 */
export type RelayEnd = "clean" | "client_reset" | "upstream_reset" | "target_gone" | "drained";

export interface RelayOptions {
  readonly client: net.Socket;
  readonly upstream: net.Socket;
  /** Change the bytes of a direction. Absent: they are forwarded unchanged. */
  readonly filters?: Readonly<Partial<Record<keyof Meter, Filter>>>;
  /** Of this connection, and of its service. */
  readonly meters: readonly Meter[];
  /** Aborted when the target is lost: with ExitedError if it went down, with another reason to end now. */
  readonly lost: AbortSignal;
}

/** A way to relay connections. */
export interface Relayer {
  /** Loads what `relay` needs, in the background, because a client waits. */
  prepare(): void;
  /** Relays between two sockets; resolves when both are closed. Never rejects. */
  relay(options: RelayOptions): Promise<RelayEnd>;
}

/** Relays between two sockets; resolves when both are closed. Never rejects. */
export function relay(options: RelayOptions): Promise<RelayEnd> {
  return new Relay(options).done;
}

/** Relays in this thread, by the streams of Node. */
export const nodeRelayer: Relayer = { prepare: () => {}, relay };

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
  #renamedDown: AbortSignal | undefined;

  constructor({ client, upstream, meters, lost, filters = {} }: RelayOptions) {
    this.#client = client;
    this.#upstream = upstream;
    this.#meters = meters;
    this.#pumps = { in: new Pump(client, upstream, filters.in), out: new Pump(upstream, client, filters.out) };

    const onLost = (): void => this.#onLost(lost.reason);
    lost.addEventListener("abort", onLost, { once: true });
    this.#result.promise.finally(() => {
      clearTimeout(this.#timer);
      clearInterval(this.#probeTimer);
      lost.removeEventListener("abort", onLost);
      this.#renamedDown?.removeEventListener("abort", this.#targetGone);
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
      this.#resetAfterFlush(other);
    });
    const onClose = (): void => {
      // Closed before the end of its stream, by the peer or by wakeport: the other side must not see a clean end.
      if (!socket.readableEnded) {
        if (this.#end === "clean") this.#end = end;
        this.#resetAfterFlush(other);
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
   * Probes sides whose stream has ended. Node no longer reads from such a socket, so it notices neither a reset nor a
   * failed keep-alive.
   */
  #detectDeadPeers(): void {
    this.#probeTimer ??= setInterval(() => {
      for (const socket of [this.#client, this.#upstream]) {
        if (socket.readableEnded && socket.writable && socket.writableLength === 0) socket.write(NOTHING);
      }
    }, PROBE_MS);
  }

  /** Forwards the bytes that a broken socket had received before its error. */
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

  #onLost(reason: unknown): void {
    if (!(reason instanceof ExitedError)) return this.#resetBoth("drained");
    if (!(reason instanceof RenamedError) || reason.down.aborted) return this.#targetGone();
    this.#renamedDown = reason.down;
    reason.down.addEventListener("abort", this.#targetGone, { once: true });
  }

  #resetBoth(end: RelayEnd): void {
    this.#end = end;
    reset(this.#client);
    reset(this.#upstream);
  }

  /**
   * Forwards the last bytes of a target that is down while any byte moves, because the client may be slow. The end of
   * its stream may never arrive: the network of the container was removed with it.
   */
  readonly #targetGone = (): void => {
    if (this.#upstream.readableEnded) this.#drainClientAfterTargetExit();
    else this.#upstream.once("end", () => this.#drainClientAfterTargetExit());
    let moved = this.#bytesMoved;
    let idleMs = 0;
    this.#timer = setInterval(() => {
      idleMs = this.#bytesMoved === moved ? idleMs + SILENCE_MS : 0;
      moved = this.#bytesMoved;
      const isClientSlow = this.#upstream.readableEnded || this.#client.writableLength > 0;
      if (idleMs >= (isClientSlow ? LINGER_MS : SILENCE_MS)) this.#resetBoth("target_gone");
    }, SILENCE_MS);
  };

  /** Bytes received from the upstream, and bytes sent to the client. */
  get #bytesMoved(): number {
    return this.#upstream.bytesRead + this.#client.bytesWritten - this.#client.writableLength;
  }

  /**
   * Resets the client of an upstream that is gone, because further bytes of the client would be lost. If the upstream
   * has sent data, waits for the client's FIN first, because the reset could overtake the data.
   */
  #drainClientAfterTargetExit(): void {
    const client = this.#client;
    const isLost = this.#upstream.writableLength > 0;
    const hasData = this.#upstream.bytesRead > 0;
    this.#upstream.destroy();
    const onLoss = (): void => {
      this.#end = "target_gone";
      if (!hasData || client.readableEnded) this.#resetAfterFlush(client, LINGER_MS);
      else client.once("end", () => this.#resetAfterFlush(client, LINGER_MS));
    };
    if (isLost) onLoss();
    this.#pumps.in.discard(isLost ? () => {} : onLoss);
  }

  /**
   * Resets a connection when the peer has received all written bytes and the FIN. Waits at most `silenceMs` in which the
   * peer receives nothing, and LINGER_MS in all.
   */
  #resetAfterFlush(socket: net.Socket, silenceMs: number = SILENCE_MS): void {
    if (socket.destroyed) return;
    const give = (): void => reset(socket);
    const limit = setTimeout(give, LINGER_MS);
    let silence = setTimeout(give, silenceMs);
    finished(socket, () => {
      clearTimeout(limit);
      clearTimeout(silence);
    });
    const onProgress = (): void => {
      clearTimeout(silence);
      if (!socket.destroyed) silence = setTimeout(give, silenceMs);
    };
    const hasWritten = socket.bytesWritten > 0 || this.#pumps[socket === this.#client ? "out" : "in"].hasWritten;
    if (hasWritten || socket.writableEnded) void delivered(socket, onProgress).then(give);
    else give();
  }
}
