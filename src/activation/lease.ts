import { AbortSource } from "../async/abort-source.ts";
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
  readonly #cut = new AbortSource();
  #moved = new AbortSource();
  #status: "waiting" | "held" | "over" = "waiting";
  /** Undefined until a caller waits for the grant. */
  #wait: PromiseWithResolvers<void> | undefined;
  /** Why the lease was not granted. */
  #rejection: unknown;
  #upstream: Upstream = { address: "" };
  #use: Disposable | undefined;

  /** @param onRelease called when the lease is withdrawn or disposed */
  constructor(holder: Holder, onRelease: (lease: Lease) => void, client?: LeaseClient) {
    this.holder = holder;
    this.client = client;
    this.#onRelease = onRelease;
  }

  /** Resolves when the target is ready for this lease; rejects with the reason if it will not be. */
  get granted(): Promise<void> {
    this.#wait ??= this.#newWait();
    return this.#wait.promise;
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

  /** Disposes `use` at the end of the lease, of any kind. */
  counts(use: Disposable): void {
    this.#use = use;
  }

  /** For the activator: the target is ready at `upstream`. @param moved aborted at the next change of the address */
  grant(upstream: Upstream, moved: AbortSource): void {
    this.#status = "held";
    this.move(upstream, moved);
    this.#wait?.resolve();
  }

  /** For the activator: the target's address changed. @param moved aborted at the next change of the address */
  move(upstream: Upstream, moved: AbortSource): void {
    this.#upstream = upstream;
    this.#moved = moved;
  }

  /** For the activator: the waiting lease will not be granted. */
  reject(reason: Error): void {
    this.#end();
    this.#reject(reason);
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
    this.#reject(reason);
  }

  [Symbol.dispose](): void {
    if (this.#status === "over") return;
    this.#end();
    this.#onRelease(this);
  }

  #newWait(): PromiseWithResolvers<void> {
    const wait = Promise.withResolvers<void>();
    // A rejection without a waiting caller is not an unhandled one.
    wait.promise.catch(() => {});
    if (this.#rejection !== undefined) wait.reject(this.#rejection);
    else if (!this.isWaiting) wait.resolve();
    return wait;
  }

  #reject(reason: unknown): void {
    this.#rejection = reason;
    this.#wait?.reject(reason);
  }

  #end(): void {
    this.#status = "over";
    this.#use?.[Symbol.dispose]();
  }
}
