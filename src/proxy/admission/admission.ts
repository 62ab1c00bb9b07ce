/** Who may come in to a service: asked for every client, before anything is started for it. */
import type { OpenTimes } from "../../config/keys/access-times.ts";
import type { Ip, Network } from "../../net/ip.ts";
import { type AccessRules, checkSource } from "./access-list.ts";
import { OpeningHours } from "./access-schedule.ts";
import { Line, type Waiting } from "./admission-queue.ts";
import { type Bans, sourceOf } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";
import { Limits, type LimitsOptions, type LimitsSurroundings, type Obstacle } from "./limits.ts";
import { dismissOnlooker } from "./monitors.ts";
import type { Pass, Slot, Slots } from "./slots.ts";

/** What a configuration says. */
export interface DoorRules {
  readonly access: AccessRules & {
    /** Absent: always. */
    readonly times?: readonly OpenTimes[];
    /** Absent: the machine's own. */
    readonly timeZone?: string;
  };
  readonly limits: LimitsOptions & {
    /** How many bits of an IPv6 address tell a source. */
    readonly ipv6Prefix: number;
    /** How many may wait for room. */
    readonly waiting: number;
    readonly onLimit: "reject" | "queue";
  };
  /** Who is let in to nothing, and told nothing; absent: nobody. */
  readonly probes?: readonly Network[];
  /** How long a client may wait for room, in milliseconds. */
  readonly patienceMs: number;
}

export interface DoorOptions extends DoorRules {
  readonly service: string;
  /** Shared by all services. */
  readonly bans: Bans;
  /** Places of the whole process. */
  readonly slots: Slots;
  readonly around: DoorSurroundings;
}

export interface DoorSurroundings extends LimitsSurroundings {
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/**
 * The order is: onlookers, bans and addresses, times, rates, load, connections of the source, connections in all, places of the
 * process. Addresses come first because they cost nothing, and so that who is kept out uses up nothing. Onlookers come
 * before them because a monitor asks whether wakeport is there, not whether it may come in.
 */
export class Door {
  readonly #options: DoorOptions;
  readonly #limits: Limits;
  /** Empty where nobody may wait. */
  readonly #line: Line;
  #rules: DoorRules;
  #hours: OpeningHours | undefined;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#rules = options;
    this.#hours = hoursOf(options);
    this.#limits = new Limits(options.limits, options.around);
    this.#line = new Line({
      rules: () => ({ places: this.#rules.limits.waiting, patienceMs: this.#rules.patienceMs }),
      attempt: (client, slot) => this.#attempt(client, slot),
      sit: (source) => options.slots.take({ service: options.service, source }),
      now: options.around.now,
    });
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#line.length;
  }

  /** From now on other rules hold. Who is in stays in, and counts. */
  configure(rules: DoorRules): void {
    this.#rules = rules;
    this.#hours = hoursOf(rules);
    this.#limits.configure(rules.limits);
    this.#line.advance();
  }

  /**
   * Lets a client in, at once or when there is room, as the service says. It is in until the answer is disposed of.
   *
   * @param ip undefined for a client that left before anybody looked
   * @throws OnlookerError; DeniedError with the reason; the reason of `signal` when the client leaves while it waits
   */
  async enter(ip: Ip | undefined, signal: AbortSignal): Promise<Pass> {
    if (this.#rules.limits.onLimit === "reject") return this.enterNow(ip);
    this.#checkAccess(ip);
    return await this.#line.wait({ ip, source: this.sourceOf(ip) }, signal);
  }

  /** As `enter`, but without waiting. @throws OnlookerError, DeniedError */
  enterNow(ip: Ip | undefined): Pass {
    this.#checkAccess(ip);
    const answer = this.#admit(this.sourceOf(ip));
    if (Symbol.dispose in answer) return answer;
    throw new DeniedError(answer.reason, answer.message);
  }

  /** The holder that the slots of a client count for. */
  sourceOf(ip: Ip | undefined): string {
    return ip === undefined ? UNKNOWN : sourceOf(ip, this.#rules.limits.ipv6Prefix);
  }

  /** @throws OnlookerError, DeniedError */
  #checkAccess(ip: Ip | undefined): void {
    dismissOnlooker(this.#rules.probes ?? [], ip);
    const now = this.#options.around.unixTime();
    checkSource(this.#rules.access, this.#options.bans, ip, now);
    if (this.#hours?.isOpen(now) === false) throw new DeniedError("time", "the service is closed at this time");
  }

  /** For one that waits: it may have been banned meanwhile, or the time is over. @throws DeniedError */
  #attempt({ ip, source }: Waiting, slot: Slot | undefined): Pass | Obstacle {
    this.#checkAccess(ip);
    return this.#admit(source, slot);
  }

  /** @param slot of one that has waited @throws DeniedError when the process has no place left */
  #admit(source: string, slot?: Slot): Pass | Obstacle {
    const obstacle = this.#limits.obstacle(source);
    if (obstacle !== undefined) return obstacle;
    const ownSlot = slot ?? this.#options.slots.take({ service: this.#options.service, source });
    const place = this.#limits.take(source);
    return {
      slot: ownSlot,
      [Symbol.dispose]: () => {
        place[Symbol.dispose]();
        ownSlot[Symbol.dispose]();
        this.#line.advance();
      },
    };
  }
}

const UNKNOWN = "an unknown source";

function hoursOf({ access }: DoorRules): OpeningHours | undefined {
  return access.times && new OpeningHours(access.times, access.timeZone);
}
