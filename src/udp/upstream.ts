import type dgram from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { abortable } from "../async/wait.ts";
import { codeOf } from "../errors.ts";
import { isCongested, newSocket, ready, typeFor } from "./socket.ts";
import { newRequestSocket, TransferSocket } from "./tftp.ts";

/** A refusal of this machine comes at once; a container's, or one from another machine, may take its time. */
const QUIET_MS = 25;

/** What the other side said to one datagram: something, that nobody is there, or nothing for a while. */
export type SendResult = "answered" | "refused" | "quiet";

export interface UpstreamOptions {
  /** Host or IP address. */
  readonly host: string;
  readonly port: number;
  /** Whether it uses TFTP, which answers from other ports of its address; default: no. */
  readonly isTftp?: boolean;
  readonly signal: AbortSignal;
  readonly onAnswer: (datagram: Buffer) => void;
  /** A datagram did not arrive: nobody listens there, or the system did not take it. */
  readonly onLoss: (reason: "refused" | "unsent") => void;
}

/**
 * One connected datagram socket: it hears only its target, and learns of refusals. Those are events here and no faults;
 * one that nobody listened to would end the process.
 */
export class Upstream implements Disposable {
  readonly #socket: dgram.Socket;
  readonly #onLoss: UpstreamOptions["onLoss"];
  readonly #onAnswer: (datagram: Buffer) => void;
  #dataConnections: TransferSocket | undefined;
  #knock: ((result: SendResult) => void) | undefined;
  #isClosed = false;

  private constructor(socket: dgram.Socket, { onAnswer, onLoss }: UpstreamOptions) {
    this.#socket = socket;
    this.#onLoss = onLoss;
    socket.on("error", (error) => this.#lost(error));
    this.#onAnswer = (datagram) => {
      this.#knock?.("answered");
      onAnswer(datagram);
    };
    socket.on("message", this.#onAnswer);
  }

  /** @throws the system's error, or the reason of `signal` */
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
    if (this.#dataConnections?.send(datagram)) return;
    if (isCongested(this.#socket)) return this.#onLoss("unsent");
    this.#socket.send(datagram, (error) => {
      if (error === null || this.#isClosed) return;
      this.#lost(error);
      // What was told is the refusal of one that went before. This one was not sent at all.
      if (codeOf(error) === "ECONNREFUSED") this.#socket.send(datagram, (again) => again && this.#lost(again));
    });
  }

  /** Sends a datagram and waits for what becomes of it. @throws the reason of `signal` */
  async knock(datagram: Buffer, signal: AbortSignal): Promise<SendResult> {
    const { promise, resolve } = Promise.withResolvers<SendResult>();
    // A program that was busy must first see what came meanwhile: timers run before that, immediates after it.
    const timer = setTimeout(() => setImmediate(resolve, "quiet"), QUIET_MS);
    this.#knock = resolve;
    try {
      this.#socket.send(datagram, (error) => error && resolve("refused"));
      return await abortable(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#knock = undefined;
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    this.#dataConnections?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #openTransfers(): Promise<void> {
    try {
      this.#dataConnections = await TransferSocket.open({
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

  #lost(error: Error): void {
    if (this.#isClosed) return;
    if (this.#knock !== undefined) this.#knock("refused");
    else this.#onLoss(codeOf(error) === "ECONNREFUSED" ? "refused" : "unsent");
  }
}

/** IPv4 first: of "localhost" programs without a word about it listen there. */
async function addressOf(host: string): Promise<string> {
  const { address } = await lookup(host, { family: 4 }).catch(() => lookup(host));
  return address;
}
