/** Errors of waiting for a target. Callers check the class or `code`, not the message. */
export abstract class ActivationError extends Error {
  abstract readonly code: "start_timeout" | "start_failed" | "exited" | "cooldown" | "closed";
  override get name(): string {
    return this.constructor.name;
  }
}

/** The target did not become ready within its start timeout. The message names what was missing. */
export class StartTimeoutError extends ActivationError {
  readonly code = "start_timeout";
}

/** The target could not be started; `cause` is the reason. */
export class StartFailedError extends ActivationError {
  readonly code = "start_failed";
}

/** How a target ended. Unknown details are absent. */
export interface Exit {
  /** Exit code of the main process; absent if a signal ended a local process. */
  readonly code?: number;
  readonly signal?: string;
  readonly oomKilled?: boolean;
  /** Whether a stop was requested, by any process. */
  readonly stopRequested?: boolean;
}

/** The target exited while it was starting or in use. */
export class ExitedError extends ActivationError {
  readonly code = "exited";
  readonly exit: Exit;

  constructor(target: string, exit: Exit) {
    super(`${target} exited${describeExit(exit)}`);
    this.exit = exit;
  }
}

/** The container of the target was renamed and still runs: connections to it continue without a lease. */
export class RenamedError extends ExitedError {
  /** Aborted when the renamed container is down. */
  readonly down: AbortSignal;

  constructor(target: string, down: AbortSignal) {
    super(target, {});
    this.message = `another container has the name of ${target} now`;
    this.down = down;
  }
}

/** A dependency of the target could not be acquired; `cause` is the reason. */
export class DependencyError extends ActivationError {
  readonly code = "start_failed";
}

/** The last start failed, and the next attempt is not due yet. */
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

/** A bug in wakeport: an internal contradiction. It ends the process. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Returns the exit in words, with a leading space: ` with code 3`, ` on SIGTERM`; empty if nothing is known. */
export function describeExit(exit: Exit): string {
  if (exit.oomKilled) return " (out of memory)";
  if (exit.signal !== undefined) return ` on ${exit.signal}`;
  return exit.code === undefined ? "" : ` with code ${exit.code}`;
}

/** Returns the error for clients of a target whose activator is closed. */
export function shutdownError(target: string): ClosedError {
  return new ClosedError(`${target} is being shut down`);
}

/** Returns `error` as an error of activation, for the clients that wait for the target. */
export function startErrorOf(target: string, error: Error): ActivationError {
  if (error instanceof ActivationError) return error;
  return new StartFailedError(`${target} could not be started: ${error.message}`, { cause: error });
}
