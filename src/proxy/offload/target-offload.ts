/** Lends the listeners of a ready target to the data plane, which then accepts clients and connects them itself. */
import type { Bypass } from "../../activation/bypass.ts";
import { ExitedError, RenamedError } from "../../activation/errors.ts";
import type { Holder, Lease } from "../../activation/lease.ts";
import type { Upstream } from "../../activation/target.ts";
import type { PlaneListener } from "../../dataplane/plane-listener.ts";
import type { AcceptedFacts } from "../../dataplane/reports.ts";
import { KeptError } from "../../errors.ts";
import { AcceptedClient, type OffloadRoute } from "./accepted-client.ts";
import type { ListenerLoan } from "./listener-loan.ts";

const HOLDER: Holder = { name: "clients of the data plane", kind: "client" };

/** A port of a service whose clients need nothing but a connection to the target. */
export interface OffloadPort extends OffloadRoute {
  /** The target's port, unless the target itself names one. */
  readonly targetPort: number;
  /** Limit of simultaneous dials. */
  readonly maxDials: number;
}

export interface TargetOffloadOptions {
  /** Acquires a lease on the ready target. */
  readonly acquire: (holder: Holder) => Promise<Lease>;
  readonly isReady: () => boolean;
  /** Returns the number of connections of the process below which the data plane accepts; 0: never. */
  readonly limit: () => number;
}

export class TargetOffload implements Bypass {
  readonly #options: TargetOffloadOptions;
  readonly #ports = new Map<ListenerLoan, OffloadPort>();
  /** Lent listeners, and those with open connections, since the target was last down. */
  #lent: PlaneListener[] = [];
  /** Resolves when all listeners are taken back. */
  #returned: Promise<unknown> | undefined;
  /** Connected clients of the present run of the target. */
  #clients: Set<AcceptedClient> | undefined;
  /** Number of clients so far, and before the listeners were last taken back. */
  #accepted = 0;
  #acceptedBefore = 0;
  /** As in the last call of `update`. */
  #reached: Upstream | undefined;
  #isInspecting = false;
  /** Where the data plane connects clients to. */
  #upstream: Upstream | undefined;
  /** A promise while the lease is being acquired. */
  #lease: Lease | Promise<Lease> | undefined;

  constructor(options: TargetOffloadOptions) {
    this.#options = options;
  }

  /** Whether the data plane accepts clients of the target now. */
  get isOpen(): boolean {
    return this.#lent.some(({ isOpen }) => isOpen);
  }

  /** Lends a listener of the target's service while the target is ready, until the result is disposed. */
  add(port: OffloadPort, loan: ListenerLoan): Disposable {
    this.#ports.set(loan, port);
    this.#lend(loan, port);
    return {
      [Symbol.dispose]: () => {
        this.#ports.delete(loan);
        this.#takeBack(loan);
      },
    };
  }

  /** During an inspection the address may belong to another container, so Node accepts and its clients wait. */
  update(upstream: Upstream | undefined, isInspecting: boolean): void {
    this.#reached = upstream;
    this.#isInspecting = isInspecting;
    this.reconsider();
  }

  /** Must be called after `limit` has changed to or from 0. */
  reconsider(): void {
    const upstream = this.#reached;
    // An untried target is not ready until a client got an answer.
    const isUsable = !this.#isInspecting && upstream?.isUntried !== true && this.#options.limit() > 0;
    const usable = isUsable ? upstream : undefined;
    if (usable?.address === this.#upstream?.address && usable?.port === this.#upstream?.port) return;
    if (usable === undefined) return this.#close();
    this.#upstream = usable;
    for (const [loan, port] of this.#ports) this.#lend(loan, port);
    if (this.#openClients > 0) this.#hold();
  }

  drop(): void {
    for (const listener of this.#runEnded()) listener.targetGone();
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  async beforeSleep(): Promise<void> {
    this.#close();
    await this.#returned;
    const isOpen = this.#lent.some(({ isOver }) => !isOver);
    if (isOpen) throw new KeptError(`${Math.max(1, this.#openClients)} open connections`);
    const isNewlyUsed = this.#accepted > this.#acceptedBefore;
    // Without a new loan, the next sleep must not be denied for the same clients.
    this.#acceptedBefore = this.#accepted;
    if (isNewlyUsed) throw new KeptError("clients were accepted just now");
  }

  /** Its connections drain in the same way as connections that Node accepted. */
  shutDown(): void {
    if (this.#lent.length === 0) return;
    this.#hold();
    this.#close();
    void this.#returned?.then(() => this.#releaseIfUnused());
  }

  get #openClients(): number {
    return this.#clients?.size ?? 0;
  }

  #close(): void {
    if (this.#upstream === undefined) return;
    this.#upstream = undefined;
    this.#acceptedBefore = this.#accepted;
    for (const loan of this.#ports.keys()) this.#takeBack(loan);
  }

  #lend(loan: ListenerLoan, port: OffloadPort): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const { address, port: targetPort = port.targetPort } = upstream;
    void loan.want({
      upstream: { address, port: targetPort },
      maxDials: port.maxDials,
      limit: this.#options.limit(),
      onAccepted: (facts) => this.#onAccepted(port, facts),
      onLent: (listener) => {
        this.#lent = [...this.#lent.filter(({ isOver }) => !isOver), listener];
      },
    });
  }

  #takeBack(loan: ListenerLoan): void {
    this.#returned = Promise.all([this.#returned, loan.want(undefined)]);
  }

  #onAccepted(port: OffloadPort, facts: AcceptedFacts): AcceptedClient {
    this.#accepted += 1;
    this.#clients ??= new Set();
    const clients = this.#clients;
    const client = new AcceptedClient(port, facts, (ended) => {
      clients.delete(ended);
      if (clients === this.#clients) this.#releaseIfUnused();
    });
    clients.add(client);
    this.#hold();
    return client;
  }

  #hold(): void {
    if (this.#lease !== undefined || !this.#options.isReady()) return;
    const pending = this.#options.acquire(HOLDER);
    this.#lease = pending;
    pending.then(
      (lease) => this.#held(pending, lease),
      // The target went down, which its activator reports.
      () => {
        if (this.#lease === pending) this.#lease = undefined;
      },
    );
  }

  #held(pending: Promise<Lease>, lease: Lease): void {
    if (this.#lease !== pending) return lease[Symbol.dispose]();
    this.#lease = lease;
    if (lease.signal.aborted) this.#cut(lease);
    else lease.signal.addEventListener("abort", () => this.#cut(lease), { once: true });
  }

  #releaseIfUnused(): void {
    if (this.#openClients > 0) return;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined && Symbol.dispose in lease) lease[Symbol.dispose]();
  }

  /** Later connections belong to the next run. @returns the listeners with connections to this one */
  #runEnded(): readonly PlaneListener[] {
    const lent = this.#lent;
    this.#lent = [];
    this.#clients = undefined;
    return lent;
  }

  /** The lease was cut: the target went down, or the drain is over. */
  #cut(lease: Lease): void {
    if (this.#lease === lease) this.#lease = undefined;
    const reason: unknown = lease.signal.reason;
    const lent = this.#runEnded();
    const targetGone = (): void => {
      for (const listener of lent) listener.targetGone();
    };
    if (!(reason instanceof ExitedError)) for (const listener of lent) listener.cut();
    else if (!(reason instanceof RenamedError) || reason.down.aborted) targetGone();
    // The connections continue while the renamed container runs.
    else reason.down.addEventListener("abort", targetGone, { once: true });
  }
}
