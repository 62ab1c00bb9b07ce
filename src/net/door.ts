/** Who may come in to a service: asked for every client, before anything is started for it. */
import type { OpenTimes } from "../config/times.ts";
import { type AccessRules, mayEnter } from "./access-list.ts";
import { type Bans, sourceOf } from "./bans.ts";
import { DeniedError } from "./denial.ts";
import { formatIp, type Ip } from "./ip.ts";
import { Limits, type LimitsOptions, type LimitsSurroundings, type Obstacle } from "./limits.ts";
import { Line, type Waiting } from "./line.ts";
import { OpeningHours } from "./opening-hours.ts";

export interface DoorOptions {
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
  /** How long a client may wait for room, in milliseconds. */
  readonly patienceMs: number;
  /** Shared by all services. */
  readonly bans: Bans;
  readonly around: DoorSurroundings;
}

export interface DoorSurroundings extends LimitsSurroundings {
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/**
 * The order is: bans and addresses, times, rates, load, connections of the source, connections in all. Addresses come
 * first because they cost nothing, and so that who is kept out uses up nothing.
 */
export class Door {
  readonly #options: DoorOptions;
  readonly #hours: OpeningHours | undefined;
  readonly #limits: Limits;
  readonly #line: Line | undefined;

  constructor(options: DoorOptions) {
    const { access, limits, patienceMs } = options;
    this.#options = options;
    this.#hours = access.times && new OpeningHours(access.times, access.timeZone);
    this.#limits = new Limits(limits, options.around);
    if (limits.onLimit === "queue") {
      const attempt = (client: Waiting) => this.#attempt(client);
      this.#line = new Line({ places: limits.waiting, patienceMs, attempt, now: options.around.now });
    }
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#line?.length ?? 0;
  }

  /**
   * Lets a client in, at once or when there is room, as the service says. It is in until the answer is disposed of.
   *
   * @param ip undefined for a client that left before anybody looked
   * @throws DeniedError with the reason; the reason of `signal` when the client leaves while it waits
   */
  async enter(ip: Ip | undefined, signal: AbortSignal): Promise<Disposable> {
    if (this.#line === undefined) return this.enterNow(ip);
    this.#checkAccess(ip);
    return await this.#line.wait({ ip, source: this.#sourceOf(ip) }, signal);
  }

  /** As `enter`, but without waiting. @throws DeniedError */
  enterNow(ip: Ip | undefined): Disposable {
    this.#checkAccess(ip);
    const answer = this.#admit(this.#sourceOf(ip));
    if (Symbol.dispose in answer) return answer;
    throw new DeniedError(answer.reason, answer.message);
  }

  /** @throws DeniedError */
  #checkAccess(ip: Ip | undefined): void {
    const { access, around } = this.#options;
    const now = around.unixTime();
    this.#checkBan(ip, now);
    if (!mayEnter(access, ip)) throw new DeniedError("address", `${nameOf(ip)} may not use this service`);
    if (this.#hours?.isOpen(now) === false) throw new DeniedError("time", "the service is closed at this time");
  }

  /** @throws DeniedError */
  #checkBan(ip: Ip | undefined, now: number): void {
    if (this.#options.bans.has(ip, now)) throw new DeniedError("banned", `${nameOf(ip)} is banned for a time`);
  }

  /** For one that waits: it may have been banned meanwhile. @throws DeniedError */
  #attempt({ ip, source }: Waiting): Disposable | Obstacle {
    this.#checkBan(ip, this.#options.around.unixTime());
    return this.#admit(source);
  }

  #admit(source: string): Disposable | Obstacle {
    const obstacle = this.#limits.obstacle(source);
    if (obstacle !== undefined) return obstacle;
    const place = this.#limits.take(source);
    return {
      [Symbol.dispose]: () => {
        place[Symbol.dispose]();
        this.#line?.advance();
      },
    };
  }

  #sourceOf(ip: Ip | undefined): string {
    return ip === undefined ? UNKNOWN : sourceOf(ip, this.#options.limits.ipv6Prefix);
  }
}

const UNKNOWN = "an unknown source";

function nameOf(ip: Ip | undefined): string {
  return ip === undefined ? UNKNOWN : formatIp(ip);
}
