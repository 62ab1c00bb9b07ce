import { isStop, sleepReasonOf } from "./classify.ts";
import { describeExit, type Exit } from "./errors.ts";
import type { WokenBy } from "./lease.ts";
import type { EventName, StateName } from "./machine.ts";

/** Details of a change of state. */
export interface EventDetails {
  /** The lease that caused a start; undefined if the target was found running. */
  readonly wokenBy?: WokenBy | undefined;
  readonly exit?: Exit;
  readonly error?: Error;
  /** Names what was removed. */
  readonly missing?: string | undefined;
}

const UNKNOWN = "not seen yet";

const awakeStates: ReadonlySet<StateName> = new Set(["starting", "ready", "draining", "stopping"]);

/** What an activator records about its target, for `wakeport status` and metrics. Times are Unix milliseconds. */
export class StateHistory {
  lastActivity: number | undefined;
  lastError: string | undefined;
  /** The last output before a failed start or a crash. */
  lastLines: readonly string[] = [];
  #cause = UNKNOWN;
  #since: number = Date.now();
  #awakeMs = 0;
  #awakeSince: number | undefined;

  /** The reason of the state: "idle", "woken by 10.0.0.7:5512 through ftp", "crashed with code 1". */
  get cause(): string {
    return this.#cause;
  }

  /** When the state began, in Unix milliseconds. */
  get since(): number {
    return this.#since;
  }

  /** Milliseconds for which this process saw the target awake. A paused target is asleep. */
  get awakeMs(): number {
    return this.#awakeMs + (this.#awakeSince === undefined ? 0 : performance.now() - this.#awakeSince);
  }

  /** Records a change of the target within its state. */
  note(cause: string): void {
    this.#cause = cause;
    this.#since = Date.now();
  }

  /** Records that the sleeping target was created or removed. */
  noteExistence(exists: boolean): void {
    const gone = this.#cause === UNKNOWN ? "does not exist" : "removed by another process";
    this.note(exists ? "created by another process" : gone);
  }

  moved(from: StateName, to: StateName, event: EventName, details: EventDetails): void {
    this.note(causeOf(from, to, event, details) ?? this.#cause);
    if (awakeStates.has(to)) this.#awakeSince ??= performance.now();
    else if (this.#awakeSince !== undefined) {
      this.#awakeMs += performance.now() - this.#awakeSince;
      this.#awakeSince = undefined;
    }
  }
}

/** Returns undefined if the cause stays the same: an idle target is asleep because it was idle. */
function causeOf(
  from: StateName,
  to: StateName,
  event: EventName,
  { wokenBy, exit, error, missing }: EventDetails,
): string | undefined {
  switch (event) {
    case "acquire":
    case "stopped":
      return to === "starting" ? wakingCause(wokenBy) : undefined;
    case "found":
      return "started by another process";
    case "lost":
      return "went down during its adoption";
    case "idle":
      return "idle";
    case "kept":
      return `not stopped: ${error?.message ?? "in use"}`;
    case "close":
    case "deadline":
      return "shutdown";
    case "paused":
      return from === "stopping" ? undefined : "paused by another process";
    case "failed":
    case "denied":
      return from === "starting" ? `failed to start: ${error?.message ?? "unknown"}` : undefined;
    case "exited":
      return missing === undefined ? exitCause(exit ?? {}) : "removed by another process";
    default:
      return undefined;
  }
}

function wakingCause(wokenBy: WokenBy | undefined): string {
  if (wokenBy?.client === undefined) return `woken for ${wokenBy?.holder ?? "a client"}`;
  return `woken by ${wokenBy.client.client} through ${wokenBy.client.service}`;
}

function exitCause(exit: Exit): string {
  const crashedOrExited = sleepReasonOf(exit) === "crash" ? "crashed" : "exited";
  return `${isStop(exit) ? "stopped by another process" : crashedOrExited}${describeExit(exit)}`;
}
