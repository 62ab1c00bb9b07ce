import type { Activator } from "./activator.ts";
import type { Lease, LeaseClient } from "./lease.ts";

/** A member of the group that is up for it, or on its way. */
interface Membership {
  readonly left: AbortController;
  lease?: Lease;
}

/**
 * Targets that are awake together: whoever claims one of them from outside makes the group claim all of them, until
 * nobody claims any of them any more. A member that fails fails alone, and is tried again for the next claim.
 */
export class Group {
  /** For people: `group shop`. */
  readonly name: string;
  readonly #members = new Set<Activator>();
  readonly #claims = new Map<Activator, Membership>();
  #users = 0;

  constructor(name: string) {
    this.name = `group ${name}`;
  }

  add(member: Activator): void {
    this.#members.add(member);
    if (this.#users > 0) this.#claim(member, undefined);
  }

  delete(member: Activator): void {
    this.#members.delete(member);
    this.#giveBack(member);
  }

  /** Whether a claim by `holder` comes from the group: from itself, or from a member that needs another one. */
  isInside(holder: string): boolean {
    return holder === this.name || [...this.#members].some(({ target }) => target.name === holder);
  }

  /**
   * Somebody claims a member; to be told by `leave` when that is over.
   *
   * @param client the client behind the claim, for reports
   */
  enter(client?: LeaseClient): void {
    this.#users += 1;
    for (const member of this.#members) this.#claim(member, client);
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users === 0) for (const member of [...this.#claims.keys()]) this.#giveBack(member);
  }

  #claim(member: Activator, client: LeaseClient | undefined): void {
    if (this.#claims.has(member)) return;
    const membership: Membership = { left: new AbortController() };
    this.#claims.set(member, membership);
    const forget = (): void => {
      if (this.#claims.get(member) === membership) this.#claims.delete(member);
    };
    const held = (lease: Lease): void => {
      membership.lease = lease;
      if (membership.left.signal.aborted) return lease[Symbol.dispose]();
      // The member may have gone down since it was granted.
      if (lease.signal.aborted) return forget();
      lease.signal.addEventListener("abort", forget, { once: true });
    };
    // Why a member fails is told by its own activator.
    member.acquire(membership.left.signal, this.name, client).then(held, forget);
  }

  #giveBack(member: Activator): void {
    const membership = this.#claims.get(member);
    this.#claims.delete(member);
    membership?.left.abort();
    membership?.lease?.[Symbol.dispose]();
  }
}
