/** Lends one listener to the data plane, and takes it back. At each moment one of the two accepts its clients. */
import net from "node:net";
import type { DataPlane } from "../../dataplane/data-plane.ts";
import type { AcceptedConnection, PlaneListener } from "../../dataplane/plane-listener.ts";
import type { AcceptedFacts } from "../../dataplane/reports.ts";
import type { SocketAddress } from "../../net/addresses.ts";
import type { Listener } from "../listen/listener.ts";

/** Time after which a data plane that could not accept more clients gets the listener again. */
const RETRY_MS = 10_000;

/** What the data plane does with the clients. */
export interface LoanTerms {
  /** Where the clients are connected to. */
  readonly upstream: SocketAddress;
  /** Limit of simultaneous dials. */
  readonly maxDials: number;
  /** The data plane accepts clients while the process has fewer connections. */
  readonly limit: number;
  readonly onAccepted: (facts: AcceptedFacts) => AcceptedConnection;
  /** Called when the data plane accepts the clients. */
  readonly onLent: (listener: PlaneListener) => void;
}

export interface ListenerLoanOptions {
  readonly dataPlane: DataPlane;
  readonly listener: Listener;
  /** Receives clients of the data plane that must be served in another way. */
  readonly onReturned: (client: net.Socket) => void;
}

export class ListenerLoan {
  readonly #options: ListenerLoanOptions;
  #wanted: LoanTerms | undefined;
  /** The terms of `#lent`. */
  #terms: LoanTerms | undefined;
  #lent: PlaneListener | undefined;
  /** Resolves when the wanted terms are in force. */
  #change: Promise<void> = Promise.resolve();
  /** Whether `#apply` still reads `#wanted`. */
  #isChanging = false;
  #isFull = false;

  constructor(options: ListenerLoanOptions) {
    this.#options = options;
    options.listener.onResumed = () => void this.#update();
  }

  /**
   * Lends the listener with these terms as soon as the data plane is up. Undefined: takes the listener back.
   *
   * @returns resolves when the data plane accepts by these terms, or accepts no more and all its clients are reported.
   * Never rejects
   */
  want(terms: LoanTerms | undefined): Promise<void> {
    this.#wanted = terms;
    return this.#update();
  }

  /** Must be called when the listener is closed: the data plane accepts no more clients. */
  close(): void {
    void this.#lent?.close();
  }

  #update(): Promise<void> {
    if (!this.#isChanging) this.#change = this.#apply();
    return this.#change;
  }

  async #apply(): Promise<void> {
    this.#isChanging = true;
    for (let isApplied = true; isApplied; ) {
      const wanted = this.#isFull ? undefined : this.#wanted;
      if (this.#terms === wanted) break;
      if (this.#lent !== undefined) await this.#takeBack(this.#lent);
      else isApplied = wanted !== undefined && this.#lend(wanted);
    }
    this.#isChanging = false;
  }

  async #takeBack(lent: PlaneListener): Promise<void> {
    const { listener } = this.#options;
    await lent.close();
    this.#lent = undefined;
    this.#terms = undefined;
    if (!listener.closed.aborted) listener.resume();
  }

  /** @returns false if the data plane does not take the listener now */
  #lend(terms: LoanTerms): boolean {
    const { dataPlane, listener, onReturned } = this.#options;
    // A program that has the listener may make it blocking, and the data plane would block in an accept.
    if (listener.closed.aborted || listener.isPaused || !listener.isPausable) return false;
    const { state } = dataPlane.view;
    if (state !== "up") {
      if (state === "idle" || state === "starting") void dataPlane.decided.then(() => this.#update());
      return false;
    }
    listener.pause();
    const { onLent, ...rest } = terms;
    const lent = dataPlane.lend({
      ...rest,
      fd: listener.fd,
      onReturned: (fd) => onReturned(acceptedSocket(fd)),
      onFull: () => {
        if (this.#lent === lent) this.#onFull();
      },
    });
    if (lent === undefined) {
      listener.resume();
      return false;
    }
    this.#lent = lent;
    this.#terms = terms;
    onLent(lent);
    return true;
  }

  /** Node accepts the clients for RETRY_MS, and rejects clients above the limits. */
  #onFull(): void {
    if (this.#isFull) return;
    this.#isFull = true;
    void this.#update();
    const retry = (): void => {
      this.#isFull = false;
      void this.#update();
    };
    setTimeout(retry, RETRY_MS).unref();
  }
}

/** Returns a socket as `net.Server` emits it with `pauseOnConnect`. */
function acceptedSocket(fd: number): net.Socket {
  const options: net.SocketConstructorOpts & { readonly pauseOnCreate: true } = {
    fd,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    pauseOnCreate: true,
  };
  return new net.Socket(options);
}
