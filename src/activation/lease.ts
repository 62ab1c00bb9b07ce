import { MovedAddressError } from "./errors.ts";
import type { Upstream } from "./target.ts";
import type { Usage } from "./usage.ts";

/** The client that needs the target, for reports: its address with port, and the service that it connected to. */
export interface LeaseClient {
  readonly client: string;
  readonly service: string;
}

/** What a claim is made for. */
export interface Holder {
  /** For messages: "a client", `container web`, `group shop`. */
  readonly name: string;
  readonly kind: "client" | "dependent" | "group";
  /** Use of the dependent or the group, which is use of the targets that it claims. Undefined for a client. */
  readonly usage?: Usage;
}

/** Why a target is started: the holder of the claim, and the client behind it if there is one. */
export interface WokenBy {
  readonly holder: string;
  readonly client?: LeaseClient;
}

/** Called by a lease to tell the Activator that its claim ended. */
type OnRelease = (lease: Lease) => void;

/**
 * One claim that keeps a target up. It waits until the target is ready, is held until it is disposed, and is void
 * once the Activator rejected or cut it: a void lease disposes silently.
 *
 *     using lease = await activator.acquire(signal);
 */
export class Lease implements Disposable {
  readonly holder: Holder;
  /** The client behind the claim; undefined for a claim of a dependent. */
  readonly client: LeaseClient | undefined;
  readonly #onRelease: OnRelease;
  readonly #granted = Promise.withResolvers<void>();
  readonly #cut = new AbortController();
  #moved = new AbortController();
  #status: "waiting" | "held" | "over" = "waiting";
  #upstream: Upstream = { address: "" };
  #onOver: (() => void) | undefined;

  constructor(holder: Holder, onRelease: OnRelease, client?: LeaseClient) {
    this.holder = holder;
    this.client = client;
    this.#onRelease = onRelease;
    // A refused claim is told through `granted`; when nobody waits for it any more, that is no unhandled rejection.
    this.#granted.promise.catch(() => {});
  }

  /** Resolves when the target is ready for this claim; rejects with the reason when it will not be. */
  get granted(): Promise<void> {
    return this.#granted.promise;
  }

  /** Current host or IP address of the target in the life that this lease holds. */
  get address(): string {
    return this.#upstream.address;
  }

  /** The one port where all of the target's ports end, where there is one. */
  get port(): number | undefined {
    return this.#upstream.port;
  }

  /** Whether nothing has shown yet that the target serves anybody in this life. */
  get isUntried(): boolean {
    return this.#upstream.isUntried === true;
  }

  /** Aborted, with the reason, when the target went down under the lease. */
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

  /** Calls back once, when the claim is over, however it ends. */
  onOver(callback: () => void): void {
    this.#onOver = callback;
  }

  /** For the Activator: the claim now holds the target at `upstream`. */
  grant(upstream: Upstream): void {
    this.#status = "held";
    this.#upstream = upstream;
    this.#granted.resolve();
  }

  /** For the Activator: the target's address changed. */
  move(upstream: Upstream): void {
    const moved = this.#moved;
    this.#upstream = upstream;
    this.#moved = new AbortController();
    moved.abort(new MovedAddressError("the address of the target changed"));
  }

  /** For the Activator: the claim will not be served. */
  reject(reason: Error): void {
    this.#end();
    this.#granted.reject(reason);
  }

  /** For the Activator: the target is gone, or goes now. */
  cut(reason: Error): void {
    this.#end();
    this.#cut.abort(reason);
  }

  /** Gives the claim up while it waits; `reason` is what `granted` rejects with. */
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
