import { AbortSource } from "../async/abort-source.ts";
import { MovedAddressError } from "./errors.ts";
import type { Holder, Lease, WokenBy } from "./lease.ts";
import type { Upstream } from "./target.ts";

/** The holder of a lease for a connection. */
export const CLIENT: Holder = { name: "a client", kind: "client" };

/** The waiting and the held leases of one target, in the order in which they were acquired. */
export class LeaseSet {
  /** Both are created for the first lease. */
  #waiting: Set<Lease> | undefined;
  #held: Set<Lease> | undefined;
  /** Aborted at the next change of the target's address. */
  #moved = new AbortSource();

  get waiting(): number {
    return this.#waiting?.size ?? 0;
  }

  get held(): number {
    return this.#held?.size ?? 0;
  }

  /** The oldest waiting lease, which is the cause of a start; undefined if none waits. */
  get first(): WokenBy | undefined {
    const [lease] = this.#waiting ?? [];
    return lease && { holder: lease.holder.name, ...(lease.client && { client: lease.client }) };
  }

  /** The dependents with a waiting or held lease. */
  get dependents(): string[] {
    const holders = [...(this.#held ?? []), ...(this.#waiting ?? [])].map(({ holder }) => holder);
    return [...new Set(holders.filter(({ kind }) => kind === "dependent").map(({ name }) => name))];
  }

  add(lease: Lease): void {
    this.#waiting ??= new Set();
    this.#waiting.add(lease);
  }

  /** Grants all waiting leases. */
  grant(upstream: Upstream): void {
    const waiting = this.#waiting ?? new Set();
    this.#held ??= new Set();
    for (const lease of waiting) {
      waiting.delete(lease);
      this.#held.add(lease);
      lease.grant(upstream, this.#moved);
    }
  }

  /** Sets the target's new address for the new connections of all leases. */
  move(upstream: Upstream): void {
    const moved = this.#moved;
    this.#moved = new AbortSource();
    for (const lease of this.#held ?? []) lease.move(upstream, this.#moved);
    moved.abort(new MovedAddressError("the address of the target changed"));
  }

  /** Rejects the given leases; default: all waiting ones. */
  reject(reason: Error, leases: readonly Lease[] = [...(this.#waiting ?? [])]): void {
    for (const lease of leases) {
      this.#waiting?.delete(lease);
      lease.reject(reason);
    }
  }

  /** Ends all held leases. */
  cut(reason: Error): void {
    const leases = [...(this.#held ?? [])];
    this.#held?.clear();
    for (const lease of leases) lease.cut(reason);
  }

  /** Removes a released lease. @returns whether it was held */
  release(lease: Lease): boolean {
    this.#waiting?.delete(lease);
    return this.#held?.delete(lease) === true;
  }
}
