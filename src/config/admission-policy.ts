/** Which clients of a service are admitted, as configured. */
import type { Network } from "../net/ip.ts";
import type { AccessTimes } from "./values/access-times.ts";
import type { Rate } from "./values/rates.ts";

export interface AccessRules {
  /** Who may come; absent: everybody, empty: nobody. */
  readonly allow?: readonly Network[];
  /** Who may not, whatever `allow` says. */
  readonly deny: readonly Network[];
}

export interface LimitsOptions {
  /** How many connections of the service at a time. */
  readonly connections?: number;
  /** How many of one source. */
  readonly perSource?: number;
  readonly rate?: Rate;
  readonly ratePerSource?: Rate;
  /** The load of the machine over the last minute at which nobody is let in any more. */
  readonly maxLoad?: number;
}

/** What a configuration says. */
export interface AdmissionPolicy {
  readonly access: AccessRules & {
    /** Absent: always. */
    readonly times?: readonly AccessTimes[];
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
  readonly monitors?: readonly Network[];
  /** How long a client may wait for room, in milliseconds. */
  readonly patienceMs: number;
}
