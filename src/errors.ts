/** Errors of the environment, translated where they enter. Errors of activation are in activation/errors.ts. */

/** Why a target could not be inspected, started or stopped. */
export type TargetFault =
  | "missing" // no such container, no such command
  | "unreachable" // the engine does not answer
  | "denied" // not permitted: file permissions, a socket proxy
  | "no_route" // up, but without a network in common with wakeport
  | "conflict" // another object has its name or port
  | "invalid" // wrong configuration
  | "failed"; // an error of the engine or the operating system

/** A failed operation on a target or its engine. The message names the problem, the remedy what to do. */
export class TargetError extends Error {
  override readonly name = "TargetError";
  readonly fault: TargetFault;
  readonly remedy: string | undefined;

  constructor(fault: TargetFault, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.fault = fault;
    this.remedy = options.remedy;
  }
}

/** A target was not stopped because it is in use or must not be stopped. The message contains the reasons. */
export class KeptError extends Error {
  override readonly name = "KeptError";
}

/** The target's own health check failed. */
export class UnhealthyError extends Error {
  override readonly name = "UnhealthyError";
}

/** A port on which another process of this machine listens. */
export interface TakenPort {
  readonly port: number;
  readonly protocol: "tcp" | "udp";
}

interface BindErrorOptions {
  readonly cause?: unknown;
  readonly service?: string;
  readonly taken?: readonly TakenPort[];
  readonly parts?: readonly BindError[];
}

/** One or more addresses of services or of the admin server could not be bound. */
export class BindError extends Error {
  override readonly name = "BindError";
  /** The service of the address; undefined for the admin server or several addresses. */
  readonly service: string | undefined;
  /** The ports that are in use. */
  readonly taken: readonly TakenPort[];
  /** One error for each address. */
  readonly parts: readonly BindError[];

  constructor(message: string, { cause, service, taken = [], parts }: BindErrorOptions = {}) {
    super(message, { cause });
    this.service = service;
    this.taken = taken;
    this.parts = parts ?? [this];
  }
}

/** Returns the port of a failed bind if it is in use. */
export function takenBy(error: unknown, { port, protocol = "tcp" }: Partial<TakenPort>): readonly TakenPort[] {
  return codeOf(error) === "EADDRINUSE" && port !== undefined ? [{ port, protocol }] : [];
}

/** Returns one error with a line for each failed bind, or undefined if all succeeded. */
export function bindErrorOf(results: readonly PromiseSettledResult<unknown>[]): BindError | undefined {
  const reasons = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
  if (reasons.length === 0) return undefined;
  const parts = reasons.flatMap((reason) => (reason instanceof BindError ? reason.parts : []));
  const taken = parts.flatMap((part) => part.taken);
  return new BindError(reasons.map(messageOf).join("\n"), { taken, parts });
}

/** An operation did not finish within its deadline. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

/** Returns the message of a thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the message and the remedy in one line. */
export function sentenceOf(error: Error): string {
  const remedy: unknown = "remedy" in error ? error.remedy : undefined;
  return typeof remedy === "string" ? `${error.message}: ${remedy}` : error.message;
}

/** Returns the system's error code (`ECONNREFUSED`), if there is one. */
export function codeOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
