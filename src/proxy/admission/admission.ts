import type { AdmissionPolicy } from "../../config/admission-policy.ts";
import type { Ip } from "../../net/ip.ts";
import { checkSource } from "./access-list.ts";
import { AccessSchedule } from "./access-schedule.ts";
import { AdmissionQueue, type Waiting } from "./admission-queue.ts";
import { type BanList, sourceOf } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";
import { type LimitHit, Limits, type LimitsContext } from "./limits.ts";
import { rejectMonitor } from "./monitors.ts";
import type { Holder, Pass, Slot, Slots } from "./slots.ts";

export interface AdmissionOptions extends AdmissionPolicy {
  readonly service: string;
  /** Shared by all services. */
  readonly bans: BanList;
  /** Slots of the process. */
  readonly slots: Slots;
  readonly clock: AdmissionContext;
}

export interface AdmissionContext extends LimitsContext {
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/** The slot holder of clients whose address is unknown. */
export const UNKNOWN_SOURCE = "an unknown source";

/**
 * Admits the clients of a service. The order is: monitors, bans and addresses, times, rates, load, connections of the
 * source, connections of the service, slots of the process. docs/design/admission.md gives the reasons.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #limits: Limits;
  /** Created for the first client. Undefined if `onLimit` is `reject`. */
  #queue: AdmissionQueue | undefined;
  #rules: AdmissionPolicy;
  #schedule: AccessSchedule | undefined;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#rules = options;
    this.#schedule = scheduleOf(options);
    this.#limits = new Limits(options.limits, options.clock);
  }

  /** Number of queued clients. */
  get waiting(): number {
    return this.#queue?.length ?? 0;
  }

  /** Replaces the rules. Admitted clients stay, and count. */
  configure(rules: AdmissionPolicy): void {
    this.#rules = rules;
    this.#schedule = scheduleOf(rules);
    this.#limits.configure(rules.limits);
    this.#queue?.admitNext();
  }

  /**
   * Admits a client, until the result is disposed. If a limit is reached, denies or queues it, as configured.
   *
   * @param ip undefined for a client that left before accept
   * @param client its signal is used if it is queued
   * @throws MonitorError; DeniedError; the reason of the signal if a queued client leaves
   */
  async admit(ip: Ip | undefined, client: { readonly signal: AbortSignal }): Promise<Pass> {
    if (this.#rules.limits.onLimit === "reject") return this.admitNow(ip);
    this.#checkAccess(ip);
    this.#queue ??= this.#newQueue();
    return await this.#queue.wait({ ip, source: this.sourceOf(ip) }, client.signal);
  }

  /** Does the same without the queue. @throws MonitorError, DeniedError */
  admitNow(ip: Ip | undefined): Pass {
    this.#checkAccess(ip);
    const result = this.#takeSlot(this.sourceOf(ip));
    if (Symbol.dispose in result) return result;
    throw new DeniedError(result.reason, result.message);
  }

  /** Counts a client that is served already, without checking any limit, until the result is disposed. */
  count(ip: Ip | undefined): Pass {
    const source = this.sourceOf(ip);
    this.#limits.take(source);
    return new LimitedPass(this.#options.slots.add({ service: this.#options.service, source }), this.#onLeft);
  }

  /** Returns the source that the slots of a client count for. */
  sourceOf(ip: Ip | undefined): string {
    return ip === undefined ? UNKNOWN_SOURCE : sourceOf(ip, this.#rules.limits.ipv6Prefix);
  }

  #newQueue(): AdmissionQueue {
    const { service, slots, clock } = this.#options;
    return new AdmissionQueue({
      rules: () => ({ limit: this.#rules.limits.waiting, timeoutMs: this.#rules.queueTimeoutMs }),
      attempt: (client, slot) => this.#attempt(client, slot),
      takeSlot: (source) => slots.take({ service, source }),
      now: clock.now,
    });
  }

  /** @throws MonitorError, DeniedError */
  #checkAccess(ip: Ip | undefined): void {
    rejectMonitor(this.#rules.monitors ?? [], ip);
    const now = this.#options.clock.unixTime();
    checkSource(this.#rules.access, this.#options.bans, ip, now);
    if (this.#schedule?.isOpen(now) === false) throw new DeniedError("time", "the service is closed at this time");
  }

  /** Checks access again, because bans and times may have changed while the client waited. @throws DeniedError */
  #attempt({ ip, source }: Waiting, slot: Slot | undefined): Pass | LimitHit {
    this.#checkAccess(ip);
    return this.#takeSlot(source, slot);
  }

  /** @param slot of a queued client @throws DeniedError if no slot of the process is free */
  #takeSlot(source: string, slot?: Slot): Pass | LimitHit {
    const hit = this.#limits.limitHit(source);
    if (hit !== undefined) return hit;
    const processSlot = slot ?? this.#options.slots.take({ service: this.#options.service, source });
    this.#limits.take(source);
    return new LimitedPass(processSlot, this.#onLeft);
  }

  readonly #onLeft = ({ source }: Holder): void => {
    this.#limits.release(source);
    this.#queue?.admitNext();
  };
}

class LimitedPass implements Pass {
  readonly slot: Slot;
  readonly #onLeft: (holder: Holder) => void;

  constructor(slot: Slot, onLeft: (holder: Holder) => void) {
    this.slot = slot;
    this.#onLeft = onLeft;
  }

  [Symbol.dispose](): void {
    this.slot[Symbol.dispose]();
    this.#onLeft(this.slot.holder);
  }
}

function scheduleOf({ access }: AdmissionPolicy): AccessSchedule | undefined {
  return access.times && new AccessSchedule(access.times, access.timeZone);
}
