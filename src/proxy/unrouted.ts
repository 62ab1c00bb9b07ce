export type UnroutedReason = (typeof unroutedReasons)[number];

export const unroutedReasons = [
  "unknown_name",
  "no_name",
  /** The first bytes are not a valid PROXY header, HTTP request or TLS ClientHello. */
  "malformed",
  "timeout",
  "client_gone",
  /** No slot was free for a client without a route. */
  "limit",
  /** wakeport is shutting down, or no longer listens on the port. */
  "closing",
] as const;

/** The client has no route. The message is for the log. */
export class UnroutedError extends Error {
  override readonly name = "UnroutedError";
  readonly reason: UnroutedReason;

  constructor(reason: UnroutedReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
