/** Clients that never came to a service: it was not learned who they are, or whom they want. */

export type UnroutedReason = (typeof unroutedReasons)[number];

export const unroutedReasons = [
  "unknown_name",
  "no_name",
  /** What came first was no header of the PROXY protocol, no request of HTTP or no ClientHello of TLS. */
  "malformed",
  "timeout",
  /** The client has left. */
  "client_gone",
  /** There was no place left for one that has not said yet what it wants. */
  "limit",
  /** wakeport ends, or no longer has the port. */
  "closing",
] as const;

/** A client was not led anywhere; the message is a sentence for the log. */
export class UnroutedError extends Error {
  override readonly name = "UnroutedError";
  readonly reason: UnroutedReason;

  constructor(reason: UnroutedReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
