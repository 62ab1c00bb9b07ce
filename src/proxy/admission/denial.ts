/** Why a client is denied: the terms of xinetd's FAIL lines where it has one. */
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

/** The client is denied. The message is for the log. */
export class DeniedError extends Error {
  override readonly name: string = "DeniedError";
  readonly reason: DenialReason;

  constructor(reason: DenialReason, message: string) {
    super(message);
    this.reason = reason;
  }
}
