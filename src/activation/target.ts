import type { Exit } from "./errors.ts";

/** What is true of a target at the moment of looking. */
export type TargetStatus =
  | {
      readonly up: false;
      readonly exit?: Exit;
      /** When it ended, as Unix time in milliseconds of the machine that it runs on; absent when it never ran. */
      readonly endedAt?: number;
      /** Whether somebody else, a restart policy, brings it up again by itself. */
      readonly comesBack?: boolean;
      /** Frozen in this life: neither down nor of use. */
      readonly pausedIncarnation?: string;
      /** It does not exist: what is missing, and what to do about it. */
      readonly missing?: string;
    }
  | {
      readonly up: true;
      /** Host or IP address of its ports. It may change within a life. */
      readonly address: string;
      /** Where all of its ports end, whatever the mapping of ports says; absent: the mapping holds. */
      readonly port?: number;
      /** Why it cannot be dialled now; `address` is empty then. Absent if it can be dialled. */
      readonly noRoute?: Error;
      /** Nothing of it has been tried: it may turn out not to serve anybody, though it takes connections already. */
      readonly isUntried?: boolean;
      /** What to think of when nobody answers there, for people; absent where nothing is special about it. */
      readonly caveat?: string;
      /** Differs between two lives of the same target: a restart that nobody saw happen still shows. */
      readonly incarnation: string;
      /** What the target says of its own health; absent when it says nothing. */
      readonly health?: "starting" | "healthy" | "unhealthy";
    };

/**
 * Resolves once `upstream` really answers; must stop at once, rejecting with the reason, when `signal` is aborted.
 * `onPending` is told, for people, what is still missing: at the beginning, and whenever that changes.
 */
export type Probe = (
  upstream: Upstream,
  signal: AbortSignal,
  onPending?: (pending: readonly string[]) => void,
) => Promise<void>;

/** Where a target answers in its present life; without a port, where the mapping of ports says. */
export type Upstream = Pick<RunningStatus, "address" | "port" | "isUntried" | "noRoute">;

export type RunningStatus = Extract<TargetStatus, { up: true }>;

/** How a target is put away: taken down with its grace or without, or frozen where it is. */
export type SleepAction = "stop" | "kill" | "pause";

/** The moment of a call of `keptAwakeBy`. */
export interface UseMoment {
  /** Dependents hold the target: reasons against a stop are not examined, and connections may be theirs. */
  readonly isHeld?: boolean;
  /** The traffic of the idle timeout was read before and is not read again. */
  readonly isTrafficKnown?: boolean;
  /** How the target is to be put to sleep; default: by a stop. */
  readonly action?: SleepAction;
}

/**
 * Something that can be brought up and taken down: a container, a process. It knows no clients and no timers.
 * Methods are idempotent and keep no promises beyond their answer: whoever cares looks again.
 */
export interface Target {
  /** For people: `container vsftpd`, `process node`. */
  readonly name: string;

  /** How long a stop may take, in milliseconds, before the target is killed. */
  readonly graceMs: number;

  /** For people: what a start under way waits for before the target can be up; absent where it waits for nothing. */
  readonly pending?: string | undefined;

  /** Looks at the target as it is now. @throws TargetError when that cannot be known */
  inspect(signal: AbortSignal): Promise<TargetStatus>;

  /**
   * Brings it up, or thaws it; does not wait until it answers anybody.
   *
   * @returns "already" when it was up, or on its way down, before the call: only a later look can tell which
   * @throws TargetError when it cannot be brought up
   */
  start(signal: AbortSignal): Promise<"started" | "already">;

  /**
   * Returns what keeps the idle target awake, one phrase each ("an exec session"): direct use since the previous call, and
   * why it must not be stopped. Called when an idle timeout begins and when it ends. Absent if the target has no such use.
   *
   * @param trafficBytes bytes of direct traffic that do not count; undefined: direct traffic and connections do not count
   * @throws TargetError if the use cannot be determined
   */
  keptAwakeBy?(trafficBytes: number | undefined, signal: AbortSignal, moment?: UseMoment): Promise<readonly string[]>;

  /**
   * Puts it away and resolves when that is done. A target that is gone is down; one that is down cannot be paused.
   *
   * @throws KeptError if the target may not be stopped now; TargetError
   */
  sleep(action: SleepAction, signal: AbortSignal): Promise<void>;

  /**
   * What it last printed, oldest line first; empty where that cannot be read. Never throws.
   *
   * @param most how many lines; default: a few, enough to explain an end
   */
  lastLines(signal: AbortSignal, most?: number): Promise<readonly string[]>;

  /**
   * Passes on each line, of bounded length, that the target printed in `life`: the ones that are still stored, then new
   * ones. A line in which the output pauses is passed on unfinished, and again when it ends.
   *
   * @returns when no more can be read now: that life is over, or the reading was cut off. Whoever asks again is told
   *   all of it again
   * @throws TargetError, "denied" or "invalid" where its output never can be read; the reason of `signal`
   */
  follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void>;

  /** Calls back whenever a look might tell something new. Callbacks may be late, doubled or missing. */
  watch(onChange: () => void): Disposable;
}
