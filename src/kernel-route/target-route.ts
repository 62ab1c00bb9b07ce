import { isIPv6 } from "node:net";
import type { Bypass } from "../activation/bypass.ts";
import type { Holder, Lease } from "../activation/lease.ts";
import type { Upstream } from "../activation/target.ts";
import { delay } from "../async/wait.ts";
import type { WokenService } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";
import { KeptError, messageOf } from "../errors.ts";
import { dial } from "../net/dial.ts";
import { sourcesOf } from "./sources.ts";
import type { Element } from "./table.ts";

const DIAL_MS = 5_000;
/** A port on which the target does not listen, for example with IPv6, is tried this number of times. */
const MAX_ATTEMPTS = 5;
const RETRY_MS = 10_000;

const HOLDER: Holder = { name: "forwarded connections", kind: "client" };

/** The part of the kernel's table that all targets share. Operations are applied one after the other. */
export interface SharedTable {
  /** The services of these that the kernel may forward, each with its mark. */
  routable(services: readonly WokenService[]): readonly { readonly service: WokenService; readonly mark: number }[];
  /** Whether the kernel can forward to this address. */
  canReach(address: string): boolean;
  /** Applies one operation after all earlier ones. The other functions that change or read the table are called in it. */
  inOrder<T>(operation: () => Promise<T>): Promise<T>;
  /** Replaces elements of the table. If that fails, all elements of all targets are removed. @throws ToolError */
  replace(removed: readonly Element[], added: readonly Element[]): Promise<void>;
  /** Deletes all flows with these marks, or those of one protocol. @throws ToolError */
  deleteFlows(marks: Iterable<number>, protocol?: "udp"): Promise<void>;
  /**
   * Reads all counters and flows, and calls `onPolled` of all routes.
   *
   * @param options.mustCount counts flows even if no packet was forwarded since the last poll
   * @throws ToolError
   */
  poll(options?: { readonly mustCount: boolean }): Promise<void>;
  /** Reports once that connections are relayed, not forwarded. */
  onFailure(services: readonly WokenService[], message: string): void;
}

export interface RouteUse {
  /** Open TCP connections. */
  readonly flows: number;
  /** Whether a packet was forwarded since the last poll. */
  readonly isMoved: boolean;
}

const NO_MARKS: ReadonlySet<number> = new Set();
const UNUSED: RouteUse = { flows: 0, isMoved: false };

export interface TargetRouteOptions {
  readonly table: SharedTable;
  /** Acquires a lease on the ready target. */
  readonly acquire: (holder: Holder) => Promise<Lease>;
  readonly isReady: () => boolean;
}

/**
 * The kernel's rules for one target. They exist while the target is ready and was dialled successfully. Forwarded
 * connections hold one lease.
 */
export class TargetRoute implements Bypass {
  readonly #options: TargetRouteOptions;
  #services: readonly WokenService[] = [];
  #upstream: Upstream | undefined;
  /** Aborted when the target cannot be used at its address any more. */
  #usable = new AbortController();
  /** The elements in the kernel's table. Changed only in `inOrder`. */
  #installed: readonly Element[] = [];
  /** Marks that flows may have, also those of an earlier run. */
  #marks = NO_MARKS;
  /** Whether elements were requested, or flows found, since the target was last down. */
  #wasOpened = false;
  #use = UNUSED;
  #lease: Lease | "pending" | undefined;
  #isShutDown = false;

  constructor(options: TargetRouteOptions) {
    this.#options = options;
  }

  /** Whether the kernel forwards new connections. */
  get isOpen(): boolean {
    return this.#installed.length > 0;
  }

  /** Whether its use must be observed. */
  get isActive(): boolean {
    return this.#lease !== undefined || (this.#marks.size > 0 && this.#options.isReady());
  }

  /** Marks that its flows may have. */
  get marks(): ReadonlySet<number> {
    return this.#marks;
  }

  /** Whether the kernel forwards new connections of the service with this mark. */
  forwards(mark: number): boolean {
    return this.#installed.some((element) => element.mark === mark);
  }

  get services(): readonly WokenService[] {
    return this.#services;
  }

  /** Replaces the services. */
  configure(services: readonly WokenService[]): void {
    const upstream = this.#upstream;
    this.update(undefined);
    this.#services = services;
    this.update(upstream);
  }

  update(upstream: Upstream | undefined): void {
    if (this.#isShutDown) return;
    const isSame = upstream?.address === this.#upstream?.address && upstream?.port === this.#upstream?.port;
    if (isSame) return;
    this.#close();
    this.#upstream = upstream;
    if (upstream !== undefined) void this.#open(upstream, this.#usable.signal);
  }

  drop(): void {
    if (!this.#wasOpened || this.#isShutDown) return;
    this.#close();
    this.#wasOpened = false;
    // A client whose SYN the dead target did not answer repeats it after 1 s, and reaches the listener.
    this.#attempt(async () => {
      const marks = this.#marks;
      this.#marks = NO_MARKS;
      await this.#options.table.deleteFlows(marks);
    });
  }

  async refresh(): Promise<void> {
    const { table } = this.#options;
    if (this.isActive) await table.inOrder(() => table.poll()).catch(() => {});
  }

  async beforeSleep(): Promise<void> {
    if (!this.#wasOpened) return;
    this.#close();
    const { flows, isMoved } = await this.#options.table
      .inOrder(() => this.#lastUse())
      .catch((error) => {
        throw new KeptError(`forwarded connections are unknown: ${messageOf(error)}`);
      });
    if (flows > 0) throw new KeptError(`${flows} forwarded connection${flows === 1 ? "" : "s"}`);
    if (isMoved) throw new KeptError("connections were forwarded just now");
  }

  shutDown(leaveRunning: boolean): void {
    if (!this.#wasOpened) return;
    if (!leaveRunning) this.#hold();
    this.#close();
    this.#isShutDown = leaveRunning;
    if (leaveRunning) this.#release();
    else this.#attempt(() => this.#options.table.poll({ mustCount: true }));
  }

  /** Called after each poll of the kernel's counters and flows. */
  onPolled(use: RouteUse): void {
    this.#use = use;
    if (use.flows > 0 || use.isMoved) this.#hold();
    else this.#release();
  }

  /** Flows of an earlier run of wakeport may have these marks. */
  adopt(marks: readonly number[]): void {
    if (marks.length > 0) this.#marks = new Set([...this.#marks, ...marks]);
    this.#wasOpened = this.#marks.size > 0;
  }

  /** Called when all elements were removed from the table. Installs them again. */
  removed(): void {
    this.#installed = [];
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#usable.abort();
    this.#usable = new AbortController();
    const { signal } = this.#usable;
    delay(RETRY_MS, signal).then(
      () => this.#open(upstream, signal),
      () => {},
    );
  }

  #hold(): void {
    if (this.#lease !== undefined || !this.#options.isReady()) return;
    this.#lease = "pending";
    this.#options.acquire(HOLDER).then(
      (lease) => this.#held(lease),
      // The target went down, which its activator reports.
      () => {
        this.#lease = undefined;
      },
    );
  }

  #held(lease: Lease): void {
    if (this.#lease !== "pending") return lease[Symbol.dispose]();
    this.#lease = lease;
    const ended = (): void => {
      if (this.#lease === lease) this.#lease = undefined;
    };
    if (lease.signal.aborted) ended();
    else lease.signal.addEventListener("abort", ended, { once: true });
  }

  #release(): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== "pending") lease?.[Symbol.dispose]();
  }

  /** New connections reach the listener as soon as the kernel has the change. */
  #close(): void {
    this.#upstream = undefined;
    this.#usable.abort();
    this.#usable = new AbortController();
    if (!this.#wasOpened) return;
    this.#attempt(async () => {
      if (this.isOpen) await this.#install([]);
    });
  }

  /** Installs elements after the target accepted a connection. Failed ones are tried again. Never rejects. */
  async #open(upstream: Upstream, usable: AbortSignal): Promise<void> {
    const { table } = this.#options;
    const wanted = this.#elementsFor(upstream);
    if (wanted.length > 0) this.#wasOpened = true;
    for (let attempt = 1; attempt <= MAX_ATTEMPTS && wanted.length > 0; attempt += 1) {
      const reachable = await reachableOf(wanted, usable);
      let failure = reachable.length === 0 ? `${upstream.address} accepts no connection` : undefined;
      const install = async (): Promise<void> => {
        if (!usable.aborted && reachable.length > this.#installed.length) await this.#install(reachable);
      };
      await table.inOrder(install).catch((error) => {
        failure = messageOf(error);
      });
      if (failure !== undefined && attempt === 1) table.onFailure(this.#services, failure);
      if (usable.aborted || this.#installed.length === wanted.length) return;
      await delay(RETRY_MS, usable).catch(() => {});
    }
  }

  #elementsFor(upstream: Upstream): Element[] {
    const { table } = this.#options;
    const addresses = [upstream.address, upstream.ipv6 ?? []].flat().filter((one) => table.canReach(one));
    const services = table.routable(this.#services);
    if (addresses.length === 0 && services.length > 0)
      table.onFailure(
        this.#services,
        `the target address "${upstream.address}" is not an IP address outside wakeport's own network`,
      );
    const elementsFor = (mark: number, address: string, { access, ports }: WokenService): Element[] => {
      const sources = sourcesOf(access, isIPv6(address) ? "ipv6" : "ipv4");
      if (sources.allowed.length === 0) return [];
      return ports.flatMap(eachPort).map(({ listen, target, protocol }) => {
        return {
          protocol: protocol ?? "tcp",
          port: listen,
          mark,
          address,
          targetPort: upstream.port ?? target,
          sources,
        };
      });
    };
    return services.flatMap(({ service, mark }) => addresses.flatMap((address) => elementsFor(mark, address, service)));
  }

  /** Returns the use after the last element was removed. Only `inOrder`. */
  async #lastUse(): Promise<RouteUse> {
    const { table } = this.#options;
    if (this.isOpen) throw new Error("the rules could not be removed");
    if (this.#marks.size === 0) return UNUSED;
    // A UDP client would be forwarded until its flow expires.
    await table.deleteFlows(this.#marks, "udp");
    await table.poll({ mustCount: true });
    return this.#use;
  }

  /** Only `inOrder`. */
  async #install(elements: readonly Element[]): Promise<void> {
    await this.#options.table.replace(this.#installed, elements);
    this.#installed = elements;
    this.#marks = new Set([...this.#marks, ...elements.map(({ mark }) => mark)]);
  }

  /** Applies an operation in the background. */
  #attempt(operation: () => Promise<void>): void {
    const { table } = this.#options;
    table.inOrder(operation).catch((error) => table.onFailure(this.#services, messageOf(error)));
  }
}

/** Returns the elements whose target accepts a connection. UDP has no connections, so its elements are all returned. */
async function reachableOf(elements: readonly Element[], signal: AbortSignal): Promise<Element[]> {
  const accepts = await Promise.all(
    elements.map(async ({ protocol, address: host, targetPort: port }) => {
      if (protocol === "udp") return true;
      const socket = await dial({ host, port, timeoutMs: DIAL_MS, signal, isProbe: true }).catch(() => undefined);
      socket?.on("error", () => {}).destroy();
      return socket !== undefined;
    }),
  );
  return elements.filter((_, index) => accepts[index]);
}
