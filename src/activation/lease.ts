import { MovedAddressError } from "./errors.ts";
import type { Upstream } from "./target.ts";
import type { Usage } from "./usage.ts";

/** The client that needs the target, for reports: its address with port, and the service to which it connected. */
export interface LeaseClient {
  readonly client: string;
  readonly service: string;
}

/** The kind of user for which a lease is acquired. */
export interface Holder {
  /** For messages: "a client", `container web`, `group shop`. */
  readonly name: string;
  readonly kind: "client" | "dependent" | "group";
  /** Use of the dependent or the group counts as use of the targets on which it holds leases. Undefined for a client. */
  readonly usage?: Usage;
}

/** The cause of a start: the holder of the lease, and the client behind it if there is one. */
export interface WokenBy {
  readonly holder: string;
  readonly client?: LeaseClient;
}

/**
 * Keeps a target awake. A lease waits until the target is ready and is then held until it is disposed. After the
 * activator rejected or cut the lease, its disposal has no effect.
 *
 *     using lease = await activator.acquire(signal);
 */
export class Lease implements Disposable {
  readonly holder: Holder;
  /** The client behind the lease; undefined for a dependent that no client woke. */
  readonly client: LeaseClient | undefined;
  readonly #onRelease: (lease: Lease) => void;
  readonly #granted = Promise.withResolvers<void>();
  readonly #cut = new AbortController();
  #moved = new AbortController();
  #status: "waiting" | "held" | "over" = "waiting";
  #upstream: Upstream = { address: "" };
  #onOver: (() => void) | undefined;

  /** @param onRelease called when the lease is withdrawn or disposed */
  constructor(holder: Holder, onRelease: (lease: Lease) => void, client?: LeaseClient) {
    this.holder = holder;
    this.client = client;
    this.#onRelease = onRelease;
    // A rejection without a waiting caller is not an unhandled one.
    this.#granted.promise.catch(() => {});
  }

  /** Resolves when the target is ready for this lease; rejects with the reason if it will not be. */
  get granted(): Promise<void> {
    return this.#granted.promise;
  }

  /** Current host or IP address of the target. */
  get address(): string {
    return this.#upstream.address;
  }

  /** Replaces each port of the target, if defined. */
  get port(): number | undefined {
    return this.#upstream.port;
  }

  /** Whether the target accepts connections without having shown that it serves them. */
  get isUntried(): boolean {
    return this.#upstream.isUntried === true;
  }

  /** Aborted, with the reason, when the target went down during the lease. */
  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  /** Aborted at the next change of the address. */
  get moved(): AbortSignal {
    return this.#moved.signal;
  }

  get isWaiting(): boolean {
    return this.#status === "waiting";
  }

  get isHeld(): boolean {
    return this.#status === "held";
  }

  /** Registers the callback for the end of the lease, of any kind. */
  onOver(callback: () => void): void {
    this.#onOver = callback;
  }

  /** For the activator: the target is ready at `upstream`. */
  grant(upstream: Upstream): void {
    this.#status = "held";
    this.#upstream = upstream;
    this.#granted.resolve();
  }

  /** For the activator: the target's address changed. */
  move(upstream: Upstream): void {
    const moved = this.#moved;
    this.#upstream = upstream;
    this.#moved = new AbortController();
    moved.abort(new MovedAddressError("the address of the target changed"));
  }

  /** For the activator: the waiting lease will not be granted. */
  reject(reason: Error): void {
    this.#end();
    this.#granted.reject(reason);
  }

  /** For the activator: the target is down or going down. */
  cut(reason: Error): void {
    this.#end();
    this.#cut.abort(reason);
  }

  /** Ends the lease while it waits; `granted` rejects with `reason`. */
  withdraw(reason: unknown): void {
    if (!this.isWaiting) return;
    this.#end();
    this.#onRelease(this);
    this.#granted.reject(reason);
  }

  [Symbol.dispose](): void {
    if (this.#status === "over") return;
    this.#end();
    this.#onRelease(this);
  }

  #end(): void {
    this.#status = "over";
    this.#onOver?.();
  }
}
