import { isStop, sleepReasonOf } from "./classify.ts";
import { describeExit, type Exit } from "./errors.ts";
import type { WokenBy } from "./lease.ts";
import type { EventName, StateName } from "./machine.ts";

/** What is known of a change of state besides its names. */
export interface EventDetails {
  /** The claim that causes a start; undefined if the target was found running. */
  readonly wokenBy?: WokenBy | undefined;
  readonly exit?: Exit;
  readonly error?: Error;
  /** What does not exist any more. */
  readonly missing?: string | undefined;
}

const NOT_SEEN = "not seen yet";

const awakeStates: ReadonlySet<StateName> = new Set(["starting", "ready", "draining", "stopping"]);

/** What an activator remembers of its target's life, to explain itself. Times are Unix milliseconds. */
export class StateHistory {
  lastActivity: number | undefined;
  lastError: string | undefined;
  /** The last output before a failure or a crash. */
  lastLines: readonly string[] | undefined;
  #cause = NOT_SEEN;
  #since: number = Date.now();
  #awakeMs = 0;
  #awakeSince: number | undefined;

  /** Why the target is as it is: "idle", "woken by 10.0.0.7:5512 through ftp", "stopped by somebody else (exit code 143)". */
  get cause(): string {
    return this.#cause;
  }

  /** Since when it is as it is. */
  get since(): number {
    return this.#since;
  }

  /** Milliseconds the target was awake in all, as far as this process saw. A paused one sleeps. */
  get awakeMs(): number {
    return this.#awakeMs + (this.#awakeSince === undefined ? 0 : performance.now() - this.#awakeSince);
  }

  /** Something about the target changed that is no change of its state. */
  note(cause: string): void {
    this.#cause = cause;
    this.#since = Date.now();
  }

  /** While it sleeps it was made, or taken away. */
  noteExistence(exists: boolean): void {
    this.note(
      exists ? "created by somebody else" : this.#cause === NOT_SEEN ? "does not exist" : "removed by somebody else",
    );
  }

  moved(from: StateName, to: StateName, event: EventName, circumstances: EventDetails): void {
    this.#since = Date.now();
    this.#cause = causeOf(from, to, event, circumstances) ?? this.#cause;
    if (awakeStates.has(to)) this.#awakeSince ??= performance.now();
    else if (this.#awakeSince !== undefined) {
      this.#awakeMs += performance.now() - this.#awakeSince;
      this.#awakeSince = undefined;
    }
  }
}

/** Undefined where the cause stays what it was: a target that was idle is asleep because it was idle. */
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
      return "started by somebody else";
    case "lost":
      return "went down while it was being adopted";
    case "idle":
      return "idle";
    case "kept":
      return `not stopped: ${error?.message ?? "in use"}`;
    case "close":
    case "deadline":
      return "shutdown";
    case "paused":
      return from === "stopping" ? undefined : "paused by somebody else";
    case "failed":
    case "denied":
      return from === "starting" ? `failed to start: ${error?.message ?? "unknown"}` : undefined;
    case "exited":
      return missing === undefined ? endOf(exit ?? {}) : "removed by somebody else";
    default:
      return undefined;
  }
}

function wakingCause(wokenBy: WokenBy | undefined): string {
  if (wokenBy?.client === undefined) return `woken for ${wokenBy?.holder ?? "a client"}`;
  return `woken by ${wokenBy.client.client} through ${wokenBy.client.service}`;
}

/** How a target ended that nobody here put to sleep. */
function endOf(exit: Exit): string {
  const end = isStop(exit)
    ? "stopped by somebody else"
    : sleepReasonOf(exit) === "crash"
      ? "crashed"
      : "ended by itself";
  return `${end}${describeExit(exit)}`;
}
