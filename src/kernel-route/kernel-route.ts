/** Forwards connections to ready targets in the kernel, by the rules of docs/design/kernel-route.md. */
import { isIP, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { SharedSettings } from "../config/client-needs.ts";
import { type Service, type WokenService, wokenKinds } from "../config/config.ts";
import { messageOf } from "../errors.ts";
import { countFlows, deleteFlows, readTableUse } from "./conntrack.ts";
import { CounterTotals, NO_COUNTERS } from "./counter-totals.ts";
import { reasonToRelay } from "./eligibility.ts";
import { checkPermission, type Permission } from "./permission.ts";
import type { RouteObserver } from "./reports.ts";
import {
  addCounters,
  type Counters,
  type Element,
  loadRuleset,
  markOf,
  readCounters,
  readMarks,
  replaceElements,
} from "./table.ts";
import { type SharedTable, TargetRoute, type TargetRouteOptions } from "./target-route.ts";

/** Limits of the interval at which the counters are polled, while a target with forwarded services is awake. */
const MIN_POLL_MS = 250;
const MAX_POLL_MS = 5_000;
/** Polls in the shortest idle timeout: idle begins at most one interval after the last use. */
const POLLS_PER_TIMEOUT = 4;
/** Share of the kernel's table of connections above which a warning is reported. */
const ALMOST_FULL = 0.8;

/** The forwarded connections of one service. */
export interface ServiceRoute {
  /** Whether new connections are forwarded now. */
  readonly isOpen: boolean;
  /** Why connections are relayed by wakeport; absent: none are known. */
  readonly reason?: string;
  /** Open TCP connections at the last poll. */
  readonly flows: number;
  readonly counters: Counters;
}

export interface KernelRouteOptions {
  readonly settings: SharedSettings;
  readonly observer: RouteObserver;
}

export class KernelRoute implements SharedTable {
  readonly #observer: RouteObserver;
  #settings: SharedSettings;
  #permission: Permission = { hasIpv6: false, problem: "wakeport has not started" };
  /** Whether the table of an earlier run was found. */
  #isFound = false;
  readonly #routes = new Set<TargetRoute>();
  /** The mark of each service that was ever forwarded. */
  readonly #marks = new Map<string, number>();
  /** Services with counters in the table. */
  readonly #counted = new Set<string>();
  readonly #totals = new CounterTotals();
  #flows: ReadonlyMap<number, number> = new Map();
  #isCounted = false;
  readonly #failures = new Map<string, string>();
  #order: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isAlmostFull = false;
  /** Why the last poll failed. */
  #pollFailure: string | undefined;

  constructor({ settings, observer }: KernelRouteOptions) {
    this.#settings = settings;
    this.#observer = observer;
  }

  /**
   * Prepares the table, before listeners accept connections: the kernel then knows all connections from their beginning.
   * Rules of an earlier run stay in force. Without permission nothing is forwarded.
   *
   * @param canDiscover whether labels may add services
   */
  async open(services: readonly Service[], canDiscover: boolean): Promise<void> {
    this.#permission = await checkPermission();
    const { problem, shortTimeout } = this.#permission;
    if (problem !== undefined) return;
    const isWanted = canDiscover || services.some((service) => this.#isRequested(service));
    try {
      const marks = await readMarks();
      this.#isFound = marks !== undefined;
      for (const [service, mark] of marks ?? []) this.#marks.set(service, mark);
      for (const route of this.#routes) this.#adopt(route);
      if (marks !== undefined) return;
      if (isWanted) await loadRuleset();
      else this.#forbid("the first service with it needs a restart of wakeport");
    } catch (error) {
      this.#forbid(messageOf(error));
    }
    if (shortTimeout !== undefined && services.some(({ relay }) => relay === "kernel"))
      this.#observer.warning(
        "route.timeouts",
        `forwarded connections may be lost when they are silent: ${shortTimeout}`,
      );
  }

  /** Removes the rules of an earlier run, after the listeners can accept connections. Their open flows continue. */
  async listening(): Promise<void> {
    if (this.#isFound) await this.inOrder(() => this.#load()).catch((error) => this.#forbid(messageOf(error)));
    for (const route of this.#routes) this.routable(route.services);
  }

  /** Polls no more, and resolves when the table has its last state. The table and its flows stay. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#order;
  }

  /** Replaces the settings of the file. */
  configure(settings: SharedSettings): void {
    const { hasSensor, usesIdent } = this.#settings;
    if (hasSensor === settings.hasSensor && usesIdent === settings.usesIdent) return;
    this.#settings = settings;
    for (const route of this.#routes) route.configure(route.services);
  }

  newRoute(services: readonly WokenService[], options: Omit<TargetRouteOptions, "table">): TargetRoute {
    const route = new TargetRoute({ ...options, table: this });
    this.#routes.add(route);
    route.configure(services);
    this.#adopt(route);
    return route;
  }

  /** Forgets the route of a removed target. */
  removeRoute(route: TargetRoute): void {
    this.#routes.delete(route);
  }

  /** Returns undefined if the service is not to be forwarded and never was. */
  routeOf(service: Service): ServiceRoute | undefined {
    const counters = this.#totals.of(service.name);
    if (!this.#isRequested(service) && counters === undefined) return undefined;
    const mark = this.#marks.get(service.name) ?? 0;
    const isOpen = [...this.#routes].some((route) => route.forwards(mark));
    const reason = this.#reasonFor(service) ?? (isOpen ? undefined : this.#failures.get(service.name));
    return {
      isOpen,
      ...(reason !== undefined && { reason }),
      flows: this.#flows.get(mark) ?? 0,
      counters: counters ?? NO_COUNTERS,
    };
  }

  // For the routes of targets

  routable(services: readonly WokenService[]): { readonly service: WokenService; readonly mark: number }[] {
    return services.flatMap((service) => {
      if (!this.#isRequested(service)) return [];
      const reason = this.#reasonFor(service);
      if (reason === undefined) return { service, mark: this.#markOf(service.name) };
      this.onFailure([service], reason);
      return [];
    });
  }

  canReach(address: string): boolean {
    const isOwn = Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address));
    return isIP(address) !== 0 && !isOwn && (!isIPv6(address) || this.#permission.hasIpv6);
  }

  inOrder<T>(operation: () => Promise<T>): Promise<T> {
    const done = this.#order.then(operation);
    const after = (): void => this.#schedule();
    this.#order = done.then(after, after);
    return done;
  }

  async replace(removed: readonly Element[], added: readonly Element[]): Promise<void> {
    try {
      await this.#addCounters();
      await replaceElements(removed, added);
    } catch (error) {
      // Another program changed the table.
      await this.#load();
      for (const route of this.#routes) route.removed();
      throw error;
    }
  }

  async deleteFlows(marks: Iterable<number>, protocol?: "udp"): Promise<void> {
    for (const mark of marks) await deleteFlows(mark, protocol);
  }

  async poll({ mustCount } = { mustCount: false }): Promise<void> {
    const moved = this.#count(await readCounters());
    const isInUse = [...this.#flows.values()].some((flows) => flows > 0);
    if (mustCount || moved.size > 0 || isInUse || !this.#isCounted) {
      this.#flows = await countFlows();
      this.#isCounted = true;
      await this.#checkSize();
    }
    const sum = (marks: ReadonlySet<number>): number =>
      [...marks].reduce((count, mark) => count + (this.#flows.get(mark) ?? 0), 0);
    for (const route of this.#routes) {
      route.onPolled({ flows: sum(route.marks), isMoved: [...route.marks].some((mark) => moved.has(mark)) });
    }
  }

  onFailure(services: readonly WokenService[], reason: string): void {
    for (const { name } of services.filter(({ relay }) => relay === "kernel")) {
      if (this.#failures.get(name) === reason) continue;
      this.#failures.set(name, reason);
      this.#observer.warning("route.kernel", `service "${name}" is relayed, not forwarded by the kernel: ${reason}`);
    }
  }

  /** Replaces the table. The marks stay in it for the next run, which finds its flows by them. */
  async #load(): Promise<void> {
    await loadRuleset();
    this.#counted.clear();
    await this.#addCounters();
  }

  async #addCounters(): Promise<void> {
    await addCounters([...this.#marks].filter(([service]) => !this.#counted.has(service)));
    for (const service of this.#marks.keys()) this.#counted.add(service);
  }

  /** Services with `auto` are forwarded where no connection can be lost by it. Local programs have no other network. */
  #isRequested({ relay, target }: Service): boolean {
    const isAutomatic = relay === "auto" && target.kind !== "process" && wokenKinds.has(target.kind);
    const { problem, shortTimeout } = this.#permission;
    return relay === "kernel" || (isAutomatic && problem === undefined && shortTimeout === undefined);
  }

  #forbid(problem: string): void {
    this.#permission = { hasIpv6: false, problem };
  }

  #reasonFor(service: Service): string | undefined {
    return reasonToRelay(service, this.#settings) ?? this.#permission.problem;
  }

  /** Adds the kernel's counters to the totals. @returns the marks of services that were used since the last poll */
  #count(counters: ReadonlyMap<string, Counters>): ReadonlySet<number> {
    const used = this.#totals.add(counters);
    for (const [service, { connections }] of used) {
      if (connections > 0) this.#observer.forwarded({ service, connections });
    }
    return new Set([...used.keys()].map((service) => this.#markOf(service)));
  }

  /** A full table drops the first packets of new connections, also of those to the listeners. */
  async #checkSize(): Promise<void> {
    const { count, max } = await readTableUse();
    const isAlmostFull = count > max * ALMOST_FULL;
    if (isAlmostFull && !this.#isAlmostFull) {
      const message = `the kernel's table of connections has ${count} of ${max} entries: lower nf_conntrack_tcp_timeout_time_wait, or raise nf_conntrack_max on the host`;
      this.#observer.warning("route.conntrack", message);
    }
    this.#isAlmostFull = isAlmostFull;
  }

  /** Targets are not stopped while their connections are unknown. */
  #reportPollFailure(reason: string): void {
    if (reason !== this.#pollFailure)
      this.#observer.warning("route.kernel", `forwarded connections are unknown: ${reason}`);
    this.#pollFailure = reason;
  }

  #markOf(service: string): number {
    const known = this.#marks.get(service);
    if (known !== undefined) return known;
    const taken = new Set(this.#marks.values());
    let n = this.#marks.size + 1;
    while (taken.has(markOf(n))) n += 1;
    this.#marks.set(service, markOf(n));
    return markOf(n);
  }

  #adopt(route: TargetRoute): void {
    route.adopt(route.services.flatMap(({ name }) => this.#marks.get(name) ?? []));
  }

  /** Schedules the next poll while one is needed. */
  #schedule(): void {
    if (this.#timer !== undefined) return;
    const active = [...this.#routes].filter(({ isActive }) => isActive);
    if (active.length === 0) return;
    const shortest = Math.min(...active.flatMap(({ services }) => services).map(({ idleTimeoutMs }) => idleTimeoutMs));
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.inOrder(() => this.poll()).then(
          () => {
            this.#pollFailure = undefined;
          },
          (error) => this.#reportPollFailure(messageOf(error)),
        );
      },
      Math.min(MAX_POLL_MS, Math.max(MIN_POLL_MS, shortest / POLLS_PER_TIMEOUT)),
    );
  }
}
