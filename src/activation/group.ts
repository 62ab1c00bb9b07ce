import type { Holder, Lease, LeaseClient } from "./lease.ts";
import type { Target } from "./target.ts";
import { Usage } from "./usage.ts";

/** The part of an activator that its group uses. */
export interface GroupMember {
  readonly target: Pick<Target, "name">;
  readonly usage: Usage;
  acquire(signal: AbortSignal, holder: Holder, client: LeaseClient | undefined): Promise<Lease>;
  sessions(): Promise<readonly string[]>;
}

/** The lease that the group holds, or acquires, on one member. */
interface MemberLease {
  readonly released: AbortController;
  lease?: Lease;
}

/**
 * Targets that are awake together: while a member is in use, the group holds leases on all members. The failure of a
 * member does not affect the others; the member is retried for the next client.
 */
export class Group {
  /** For messages: `group shop`. */
  readonly name: string;
  readonly usage: Usage = new Usage(() => this.#useChanged());
  /** Each member with its use of the group. */
  readonly #members = new Map<GroupMember, Disposable>();
  readonly #leases = new Map<GroupMember, MemberLease>();
  #isUpdateDue = false;

  constructor(name: string) {
    this.name = `group ${name}`;
  }

  add(member: GroupMember): void {
    this.#members.set(member, this.usage.addUser(member.usage));
    if (this.usage.isUsed) this.#acquire(member, undefined);
  }

  delete(member: GroupMember): void {
    this.#members.get(member)?.[Symbol.dispose]();
    this.#members.delete(member);
    this.#release(member);
  }

  /** Acquires leases on all members. @param client the client that caused it, for reports */
  wake(client?: LeaseClient): void {
    for (const member of this.#members.keys()) this.#acquire(member, client);
  }

  /**
   * Returns the exec sessions in the other members, which keep all members awake. Traffic does not count: it may be
   * traffic between members, such as a worker that polls a queue.
   */
  async sessionsInOtherMembers(member: GroupMember): Promise<readonly string[]> {
    const others = [...this.#members.keys()].filter((other) => other !== member);
    const uses = await Promise.all(others.map((other) => other.sessions()));
    return others.flatMap(({ target }, index) => uses[index]?.map((use) => `${target.name}: ${use}`) ?? []);
  }

  /** Deferred, because a lease may end during a change of state and another one may be acquired at once. */
  #useChanged(): void {
    if (this.#isUpdateDue) return;
    this.#isUpdateDue = true;
    queueMicrotask(() => {
      this.#isUpdateDue = false;
      if (this.usage.isUsed) this.wake();
      else for (const member of [...this.#leases.keys()]) this.#release(member);
    });
  }

  #acquire(member: GroupMember, client: LeaseClient | undefined): void {
    if (this.#leases.has(member)) return;
    const entry: MemberLease = { released: new AbortController() };
    this.#leases.set(member, entry);
    const forget = (): void => {
      if (this.#leases.get(member) === entry) this.#leases.delete(member);
    };
    const hold = (lease: Lease): void => {
      entry.lease = lease;
      if (entry.released.signal.aborted) return lease[Symbol.dispose]();
      // The member may have gone down since the grant.
      if (lease.signal.aborted) return forget();
      lease.signal.addEventListener("abort", forget, { once: true });
    };
    const holder = { name: this.name, kind: "group", usage: this.usage } as const;
    // The member's own activator reports its failure.
    member.acquire(entry.released.signal, holder, client).then(hold, forget);
  }

  #release(member: GroupMember): void {
    const entry = this.#leases.get(member);
    this.#leases.delete(member);
    entry?.released.abort();
    entry?.lease?.[Symbol.dispose]();
  }
}
