import type dgram from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { abortable } from "../async/wait.ts";
import { codeOf } from "../errors.ts";
import { isCongested, newSocket, ready, typeFor } from "./socket.ts";
import { newRequestSocket, TransferSocket } from "./tftp.ts";

/** Limit of the wait for a refusal. One from this machine arrives at once; others take longer. */
const QUIET_MS = 25;

export interface UpstreamOptions {
  /** Host or IP address. */
  readonly host: string;
  readonly port: number;
  /** Whether the target uses TFTP, which answers from other ports of its address; default: no. */
  readonly isTftp?: boolean;
  readonly signal: AbortSignal;
  readonly onAnswer: (datagram: Buffer) => void;
  /** A datagram was lost: nothing listens on the port, or the kernel did not accept it for sending. */
  readonly onLoss: (reason: "refused" | "unsent") => void;
}

/**
 * A connected datagram socket. It receives only from its target, and the kernel reports refusals as errors of the socket.
 * They are handled here, because an unhandled "error" event would end the process.
 */
export class Upstream implements Disposable {
  readonly #socket: dgram.Socket;
  readonly #onLoss: UpstreamOptions["onLoss"];
  readonly #onAnswer: (datagram: Buffer) => void;
  #transfers: TransferSocket | undefined;
  #onResult: ((isAccepted: boolean) => void) | undefined;
  #isClosed = false;

  private constructor(socket: dgram.Socket, { onAnswer, onLoss }: UpstreamOptions) {
    this.#socket = socket;
    this.#onLoss = onLoss;
    socket.on("error", (error) => this.#onError(error));
    this.#onAnswer = (datagram) => {
      this.#onResult?.(true);
      onAnswer(datagram);
    };
    socket.on("message", this.#onAnswer);
  }

  /** @throws the kernel's error, or the reason of `signal` */
  static async open(options: UpstreamOptions): Promise<Upstream> {
    const { host, port, isTftp = false, signal } = options;
    const address = isIP(host) === 0 ? await abortable(addressOf(host), signal) : host;
    signal.throwIfAborted();
    const type = typeFor(address);
    const socket = isTftp ? await newRequestSocket(type) : newSocket(type);
    try {
      const connected = ready(socket, "connect");
      socket.connect(port, address);
      await abortable(connected, signal);
    } catch (error) {
      socket.close();
      throw error;
    }
    const upstream = new Upstream(socket, options);
    if (isTftp) await upstream.#openTransfers();
    return upstream;
  }

  send(datagram: Buffer): void {
    if (this.#isClosed) return;
    if (this.#transfers?.send(datagram)) return;
    if (isCongested(this.#socket)) return this.#onLoss("unsent");
    this.#socket.send(datagram, (error) => {
      if (error === null || this.#isClosed) return;
      this.#onError(error);
      // The error is the refusal of an earlier datagram. This one was not sent.
      if (codeOf(error) === "ECONNREFUSED") this.#socket.send(datagram, (again) => again && this.#onError(again));
    });
  }

  /** Sends a datagram. @returns false if it is refused, true after an answer or a silence @throws the reason of `signal` */
  async sendAndWait(datagram: Buffer, signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    // If the event loop was busy, it must read the socket first: timers run before reads, and immediates after them.
    const timer = setTimeout(() => setImmediate(resolve, true), QUIET_MS);
    this.#onResult = resolve;
    try {
      this.#socket.send(datagram, (error) => error && resolve(false));
      return await abortable(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#onResult = undefined;
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    this.#transfers?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #openTransfers(): Promise<void> {
    try {
      this.#transfers = await TransferSocket.open({
        localPort: this.#socket.address().port,
        address: this.#socket.remoteAddress().address,
        onAnswer: this.#onAnswer,
        onUnsent: () => this.#onLoss("unsent"),
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #onError(error: Error): void {
    if (this.#isClosed) return;
    if (this.#onResult !== undefined) this.#onResult(false);
    else this.#onLoss(codeOf(error) === "ECONNREFUSED" ? "refused" : "unsent");
  }
}

/** Prefers IPv4: programs that listen on "localhost" by default usually listen on 127.0.0.1. */
async function addressOf(host: string): Promise<string> {
  const { address } = await lookup(host, { family: 4 }).catch(() => lookup(host));
  return address;
}
