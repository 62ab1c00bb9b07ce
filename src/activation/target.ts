import type { Exit } from "./errors.ts";

/** A run of a container that is not the target any more, because another container has its name or labels. */
export interface RenamedRun {
  /** The beginning of its incarnation. */
  readonly incarnation: string;
  /** Aborted when the run is over. */
  readonly down: AbortSignal;
}

/** The result of an inspection. */
export type TargetStatus = (
  | {
      readonly up: false;
      readonly exit?: Exit;
      /** Time of the exit in Unix milliseconds, by the clock of the target's machine; absent if it never ran. */
      readonly endedAt?: number;
      /** Whether a restart policy will start it again. */
      readonly isRestarting?: boolean;
      /** The target is paused in this incarnation: it is neither down nor can it be used. */
      readonly pausedIncarnation?: string;
      /** The target does not exist: what is missing, and what to do. */
      readonly missing?: string;
    }
  | {
      readonly up: true;
      /** Host or IP address of its ports. It may change within an incarnation. */
      readonly address: string;
      /** Another address of the same ports, in IPv6, if `address` is an IPv4 address. */
      readonly ipv6?: string;
      /** Replaces each port of the target; absent: the configured ports are used. */
      readonly port?: number;
      /** Why no connection is possible now; `address` is empty then. */
      readonly noRoute?: Error;
      /** The target accepts connections, but nothing has shown that it can serve them. */
      readonly isUntried?: boolean;
      /** A possible reason if the address does not answer, for messages. */
      readonly caveat?: string;
      /** Identifies one run of the target, so that a restart between two inspections is detected. */
      readonly incarnation: string;
      /** State of the target's own health check; absent if it has none. */
      readonly health?: "starting" | "healthy" | "unhealthy";
    }
) & {
  /** The previous run, if it continues in a renamed container. */
  readonly renamed?: RenamedRun;
};

export type RunningStatus = Extract<TargetStatus, { up: true }>;

/** Where a running target accepts connections. */
export type Upstream = Pick<RunningStatus, "address" | "ipv6" | "port" | "isUntried" | "noRoute">;

/**
 * Resolves when `upstream` is ready. Rejects at once with the reason of `signal` when that is aborted.
 *
 * @param onPending called with what is missing, at the beginning and after each change
 */
export type Probe = (
  upstream: Upstream,
  signal: AbortSignal,
  onPending?: (pending: readonly string[]) => void,
) => Promise<void>;

/** How a target is put to sleep: stopped with or without a grace period, or paused. */
export type SleepAction = "stop" | "kill" | "pause";

/** Circumstances of a call of `keptAwakeBy`. */
export interface UseMoment {
  /** Dependents hold the target: reasons against a stop are not examined, and connections may be theirs. */
  readonly isHeld?: boolean;
  /** The idle timeout begins: only what is compared at its end is read. The result is not used. */
  readonly isBaseline?: boolean;
  /** The traffic of the idle timeout was read before and is not read again. */
  readonly isTrafficKnown?: boolean;
  /** The next sleep action; default: stop. */
  readonly action?: SleepAction;
}

/**
 * Something that can be started and stopped: a container, a process. A target has no clients and no timers. Methods are
 * idempotent, and their results are valid only for the moment of the call.
 */
export interface Target {
  /** For messages: `container vsftpd`, `process node`. */
  readonly name: string;

  /** Milliseconds between a stop request and a kill. */
  readonly graceMs: number;

  /** What a start under way waits for, for messages; undefined if nothing is known. */
  readonly pending?: string | undefined;

  /** Returns the current status. @throws TargetError if it cannot be determined */
  inspect(signal: AbortSignal): Promise<TargetStatus>;

  /**
   * Starts or unpauses the target. Does not wait for its readiness.
   *
   * @returns "already" if the target was up before the call; it may have been going down
   * @throws TargetError if the target cannot be started
   */
  start(signal: AbortSignal): Promise<"started" | "already">;

  /**
   * Returns what keeps the idle target awake, one phrase each ("an exec session"): direct use since the previous call,
   * and reasons against a stop. Called at the beginning and the end of an idle timeout; absent if the target has no
   * such use.
   *
   * @param trafficBytes bytes of direct traffic that do not count; undefined: direct traffic and connections do not
   * count
   * @throws TargetError if the use cannot be determined
   */
  keptAwakeBy?(trafficBytes: number | undefined, signal: AbortSignal, moment?: UseMoment): Promise<readonly string[]>;

  /**
   * Stops or pauses the target and resolves when that is done. A missing target is down; a target that is down cannot be
   * paused.
   *
   * @throws KeptError if the target must not be stopped now; TargetError
   */
  sleep(action: SleepAction, signal: AbortSignal): Promise<void>;

  /**
   * Returns the target's last output lines, oldest first; empty if they cannot be read. Never rejects.
   *
   * @param limit number of lines; default: a few, enough to explain an exit
   */
  lastLines(signal: AbortSignal, limit?: number): Promise<readonly string[]>;

  /**
   * Passes each output line of `incarnation`, of limited length, to `onLine`: first the stored lines, then new ones. An
   * unfinished line is passed when the output pauses, and again when it is complete.
   *
   * @returns resolves when the run is over or the reading was interrupted; the next call begins with the first line
   * @throws TargetError, "denied" or "invalid" if the output can never be read; the reason of `signal`
   */
  follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void>;

  /** Calls back when the status may have changed. Calls may be late, repeated or missing. */
  watch(onChange: () => void): Disposable;
}
