/** What can become of a wait for a target. Callers branch on the class (or `code`), never on the message. */
export abstract class ActivationError extends Error {
  abstract readonly code: "start_timeout" | "start_failed" | "exited" | "cooldown" | "closed";
  override get name(): string {
    return this.constructor.name;
  }
}

/** The target did not become ready within its start timeout. The message names what was still missing. */
export class StartTimeoutError extends ActivationError {
  readonly code = "start_timeout";
}

/** The target could not be started; `cause` says why. */
export class StartFailedError extends ActivationError {
  readonly code = "start_failed";
}

/** How a target ended, as far as is known. */
export interface Exit {
  /** Exit code of the main process; absent when a signal ended a local process. */
  readonly code?: number;
  readonly signal?: string;
  readonly oomKilled?: boolean;
  /** Somebody had asked for it, as opposed to an end of its own. */
  readonly wasAsked?: boolean;
}

/** The target went down by itself, while it was starting or in use. */
export class ExitedError extends ActivationError {
  readonly code = "exited";
  readonly exit: Exit;

  constructor(target: string, exit: Exit) {
    super(`${target} exited${describeExit(exit)}`);
    this.exit = exit;
  }
}

/** Something that the target depends on could not be had; `cause` says why. */
export class DependencyError extends ActivationError {
  readonly code = "start_failed";
}

/** A start failed a moment ago; the next attempt is not due yet. */
export class CooldownError extends ActivationError {
  readonly code = "cooldown";
}

/** The service is being shut down. */
export class ClosedError extends ActivationError {
  readonly code = "closed";
}

/** The address of the running target changed: a client without a connection has to dial again. */
export class MovedAddressError extends Error {
  override readonly name = "MovedAddressError";
}

/** The program contradicts itself: a bug in wakeport, not a fault around it. It ends the process. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** In words, with a space before them: ` with code 3`, ` on SIGTERM`; nothing where nothing is known. */
export function describeExit(exit: Exit): string {
  if (exit.oomKilled) return " (out of memory)";
  if (exit.signal !== undefined) return ` on ${exit.signal}`;
  return exit.code === undefined ? "" : ` with code ${exit.code}`;
}
