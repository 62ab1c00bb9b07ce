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
interface Membership {
  readonly left: AbortController;
  lease?: Lease;
}

/**
 * Targets that are awake together: while one of them is in use, the group claims all of them. The failure of a member
 * does not affect the others; the member is retried for the next claim.
 */
export class Group {
  /** For people: `group shop`. */
  readonly name: string;
  readonly usage: Usage = new Usage(() => this.#useChanged());
  /** Each member with its use of the group. */
  readonly #members = new Map<GroupMember, Disposable>();
  readonly #leases = new Map<GroupMember, Membership>();
  #isUpdateDue = false;

  constructor(name: string) {
    this.name = `group ${name}`;
  }

  add(member: GroupMember): void {
    this.#members.set(member, this.usage.addUser(member.usage));
    if (this.usage.isUsed) this.#claim(member, undefined);
  }

  delete(member: GroupMember): void {
    this.#members.get(member)?.[Symbol.dispose]();
    this.#members.delete(member);
    this.#giveBack(member);
  }

  /**
   * Claims all members when one of them is claimed.
   *
   * @param client the client behind that claim, for reports
   */
  wake(client?: LeaseClient): void {
    for (const member of this.#members.keys()) this.#claim(member, client);
  }

  /**
   * Exec sessions in the other members, which keep all members awake. Traffic does not count: it may be traffic between
   * members, such as a worker that polls a queue.
   */
  async sessionsBeside(member: GroupMember): Promise<readonly string[]> {
    const others = [...this.#members.keys()].filter((other) => other !== member);
    const uses = await Promise.all(others.map((other) => other.sessions()));
    return others.flatMap(({ target }, index) => uses[index]?.map((use) => `${target.name}: ${use}`) ?? []);
  }

  /** Deferred, because a claim may end during a change of state and another one may begin at once. */
  #useChanged(): void {
    if (this.#isUpdateDue) return;
    this.#isUpdateDue = true;
    queueMicrotask(() => {
      this.#isUpdateDue = false;
      if (this.usage.isUsed) this.wake();
      else for (const member of [...this.#leases.keys()]) this.#giveBack(member);
    });
  }

  #claim(member: GroupMember, client: LeaseClient | undefined): void {
    if (this.#leases.has(member)) return;
    const membership: Membership = { left: new AbortController() };
    this.#leases.set(member, membership);
    const forget = (): void => {
      if (this.#leases.get(member) === membership) this.#leases.delete(member);
    };
    const held = (lease: Lease): void => {
      membership.lease = lease;
      if (membership.left.signal.aborted) return lease[Symbol.dispose]();
      // The member may have gone down since it was granted.
      if (lease.signal.aborted) return forget();
      lease.signal.addEventListener("abort", forget, { once: true });
    };
    const holder = { name: this.name, kind: "group", usage: this.usage } as const;
    // Why a member fails is told by its own activator.
    member.acquire(membership.left.signal, holder, client).then(held, forget);
  }

  #giveBack(member: GroupMember): void {
    const membership = this.#leases.get(member);
    this.#leases.delete(member);
    membership?.left.abort();
    membership?.lease?.[Symbol.dispose]();
  }
}
