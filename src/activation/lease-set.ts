import type { Holder, Lease, WokenBy } from "./lease.ts";
import type { Upstream } from "./target.ts";

/** The holder of a claim that a connection makes. */
export const CLIENT: Holder = { name: "a client", kind: "client" };

/** Who waits for a target and who holds it, in the order in which they came. */
export class LeaseSet {
  readonly #waiting = new Set<Lease>();
  readonly #held = new Set<Lease>();

  get waiting(): number {
    return this.#waiting.size;
  }

  /** The oldest waiting claim, which is the cause of a start; undefined if none waits. */
  get first(): WokenBy | undefined {
    const [lease] = this.#waiting;
    return lease && { holder: lease.holder.name, ...(lease.client && { client: lease.client }) };
  }

  get held(): number {
    return this.#held.size;
  }

  /** Who claims the target besides clients, each once. */
  get dependents(): string[] {
    const holders = [...this.#held, ...this.#waiting].map(({ holder }) => holder);
    return [...new Set(holders.filter(({ kind }) => kind === "dependent").map(({ name }) => name))];
  }

  add(lease: Lease): void {
    this.#waiting.add(lease);
  }

  /** Those who wait now hold the target at `upstream`. */
  grant(upstream: Upstream): void {
    for (const lease of this.#waiting) {
      this.#waiting.delete(lease);
      this.#held.add(lease);
      lease.grant(upstream);
    }
  }

  /** Sets the target's new address for the new connections of all leases. */
  move(upstream: Upstream): void {
    for (const lease of this.#held) lease.move(upstream);
  }

  /** Turns one away, or all who wait. */
  reject(reason: Error, leases: readonly Lease[] = [...this.#waiting]): void {
    for (const lease of leases) {
      this.#waiting.delete(lease);
      lease.reject(reason);
    }
  }

  /** Takes the target from all who hold it. */
  cut(reason: Error): void {
    const leases = [...this.#held];
    this.#held.clear();
    for (const lease of leases) lease.cut(reason);
  }

  /** One was given back. @returns whether it was held */
  release(lease: Lease): boolean {
    this.#waiting.delete(lease);
    return this.#held.delete(lease);
  }
}
