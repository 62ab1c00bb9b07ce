/** Why a client is not served. The words of xinetd's FAIL lines where it has one. */
export type DenialReason = (typeof denialReasons)[number];

export const denialReasons = [
  "address",
  "banned",
  "time",
  "rate",
  "load",
  "per_source_limit",
  "service_limit",
  "waiting_limit",
  "process_limit",
  "no_control",
] as const;

/** A client was turned away; the message is a sentence for the log. */
export class DeniedError extends Error {
  override readonly name: string = "DeniedError";
  readonly reason: DenialReason;

  constructor(reason: DenialReason, message: string) {
    super(message);
    this.reason = reason;
  }
}
