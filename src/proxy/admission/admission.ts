import type { AdmissionPolicy } from "../../config/admission-policy.ts";
import type { Ip } from "../../net/ip.ts";
import { checkSource } from "./access-list.ts";
import { AccessSchedule } from "./access-schedule.ts";
import { AdmissionQueue, type Waiting } from "./admission-queue.ts";
import { type BanList, sourceOf } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";
import { type LimitHit, Limits, type LimitsContext } from "./limits.ts";
import { rejectMonitor } from "./monitors.ts";
import type { Pass, Slot, Slots } from "./slots.ts";

export interface AdmissionOptions extends AdmissionPolicy {
  readonly service: string;
  /** Shared by all services. */
  readonly bans: BanList;
  /** Places of the whole process. */
  readonly slots: Slots;
  readonly clock: AdmissionContext;
}

export interface AdmissionContext extends LimitsContext {
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/**
 * The order is: onlookers, bans and addresses, times, rates, load, connections of the source, connections in all, places of the
 * process. Addresses come first because they cost nothing, and so that who is kept out uses up nothing. Onlookers come
 * before them because a monitor asks whether wakeport is there, not whether it may come in.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #limits: Limits;
  /** Empty where nobody may wait. */
  readonly #queue: AdmissionQueue;
  #rules: AdmissionPolicy;
  #schedule: AccessSchedule | undefined;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#rules = options;
    this.#schedule = scheduleOf(options);
    this.#limits = new Limits(options.limits, options.clock);
    this.#queue = new AdmissionQueue({
      rules: () => ({ limit: this.#rules.limits.waiting, timeoutMs: this.#rules.patienceMs }),
      attempt: (client, slot) => this.#attempt(client, slot),
      takeSlot: (source) => options.slots.take({ service: options.service, source }),
      now: options.clock.now,
    });
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** From now on other rules hold. Who is in stays in, and counts. */
  configure(rules: AdmissionPolicy): void {
    this.#rules = rules;
    this.#schedule = scheduleOf(rules);
    this.#limits.configure(rules.limits);
    this.#queue.admitNext();
  }

  /**
   * Lets a client in, at once or when there is room, as the service says. It is in until the answer is disposed of.
   *
   * @param ip undefined for a client that left before anybody looked
   * @throws OnlookerError; DeniedError with the reason; the reason of `signal` when the client leaves while it waits
   */
  async admit(ip: Ip | undefined, signal: AbortSignal): Promise<Pass> {
    if (this.#rules.limits.onLimit === "reject") return this.admitNow(ip);
    this.#checkAccess(ip);
    return await this.#queue.wait({ ip, source: this.sourceOf(ip) }, signal);
  }

  /** As `enter`, but without waiting. @throws OnlookerError, DeniedError */
  admitNow(ip: Ip | undefined): Pass {
    this.#checkAccess(ip);
    const answer = this.#takeSlot(this.sourceOf(ip));
    if (Symbol.dispose in answer) return answer;
    throw new DeniedError(answer.reason, answer.message);
  }

  /** The holder that the slots of a client count for. */
  sourceOf(ip: Ip | undefined): string {
    return ip === undefined ? UNKNOWN : sourceOf(ip, this.#rules.limits.ipv6Prefix);
  }

  /** @throws OnlookerError, DeniedError */
  #checkAccess(ip: Ip | undefined): void {
    rejectMonitor(this.#rules.monitors ?? [], ip);
    const now = this.#options.clock.unixTime();
    checkSource(this.#rules.access, this.#options.bans, ip, now);
    if (this.#schedule?.isOpen(now) === false) throw new DeniedError("time", "the service is closed at this time");
  }

  /** For one that waits: it may have been banned meanwhile, or the time is over. @throws DeniedError */
  #attempt({ ip, source }: Waiting, slot: Slot | undefined): Pass | LimitHit {
    this.#checkAccess(ip);
    return this.#takeSlot(source, slot);
  }

  /** @param slot of one that has waited @throws DeniedError when the process has no place left */
  #takeSlot(source: string, slot?: Slot): Pass | LimitHit {
    const obstacle = this.#limits.limitHit(source);
    if (obstacle !== undefined) return obstacle;
    const ownSlot = slot ?? this.#options.slots.take({ service: this.#options.service, source });
    const place = this.#limits.take(source);
    return {
      slot: ownSlot,
      [Symbol.dispose]: () => {
        place[Symbol.dispose]();
        ownSlot[Symbol.dispose]();
        this.#queue.admitNext();
      },
    };
  }
}

const UNKNOWN = "an unknown source";

function scheduleOf({ access }: AdmissionPolicy): AccessSchedule | undefined {
  return access.times && new AccessSchedule(access.times, access.timeZone);
}
