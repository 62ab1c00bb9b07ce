/** Why a datagram went no further. */
export type DropReason =
  | "denied" // its sender may not, or there are too many
  | "flows" // every flow of the service is in use
  | "held" // more than is held for one client while the target starts
  | "not_started" // the target did not come up for those that were held
  | "refused" // nothing listens on the target's port
  | "unsent" // the system did not take it
  | "closing"; // the service ends

export const dropReasons: readonly DropReason[] = [
  "denied",
  "flows",
  "held",
  "not_started",
  "refused",
  "unsent",
  "closing",
];

/** Datagrams of a service so far. */
export interface DatagramCount {
  /** From clients, those among them that were dropped. */
  in: number;
  /** From targets. */
  out: number;
  readonly dropped: Record<DropReason, number>;
}

/** What is told of the datagrams of a service. */
export interface DatagramView {
  /** Clients that are known at this moment. */
  readonly flows: number;
  readonly in: number;
  readonly out: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
}

/** A count that begins. */
export function noDatagrams(): DatagramCount {
  const dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;
  return { in: 0, out: 0, dropped };
}
