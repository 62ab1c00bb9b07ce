/** Which clients a service accepts, as configured. */
import type { Network } from "../net/ip.ts";
import type { AccessTimes } from "./values/access-times.ts";
import type { Rate } from "./values/rates.ts";

export interface AccessRules {
  /** Networks that may connect. Absent: all. Empty: none. */
  readonly allow?: readonly Network[];
  /** Networks that may not connect, even if `allow` contains them. */
  readonly deny: readonly Network[];
}

export interface LimitsOptions {
  /** Limit of simultaneous connections. */
  readonly connections?: number;
  /** Limit of simultaneous connections from one source. */
  readonly perSource?: number;
  readonly rate?: Rate;
  readonly ratePerSource?: Rate;
  /** One-minute load average above which clients are rejected. */
  readonly maxLoad?: number;
}

export interface AdmissionPolicy {
  readonly access: AccessRules & {
    /** Absent: always. */
    readonly times?: readonly AccessTimes[];
    /** Absent: that of the machine. */
    readonly timeZone?: string;
  };
  readonly limits: LimitsOptions & {
    /** Prefix length of IPv6 addresses that count as one source. */
    readonly ipv6Prefix: number;
    /** Limit of clients that wait for a free connection. */
    readonly waiting: number;
    readonly onLimit: "reject" | "queue";
  };
  /** Networks of health checks, which are accepted and closed. Absent: none. */
  readonly monitors?: readonly Network[];
  /** Time that a client waits for a free connection, in milliseconds. */
  readonly queueTimeoutMs: number;
}
