/** Why a datagram was dropped. */
export const dropReasons = [
  "denied", // the sender is not allowed, or has reached a limit
  "flows", // all flows of the service are in use
  "held", // the client's buffer is full while the target starts
  "not_started", // buffered, and the target did not start
  "refused", // nothing listens on the target's port
  "unsent", // the kernel did not accept it for sending
  "closing", // the service ends
] as const;

export type DropReason = (typeof dropReasons)[number];

/** Datagrams of a service so far. */
export interface DatagramCount {
  /** Received from clients, including dropped ones. */
  in: number;
  /** Received from targets. */
  out: number;
  readonly dropped: Record<DropReason, number>;
}

/** Counts of one service for reports. */
export interface DatagramView {
  /** Number of open flows. */
  readonly flows: number;
  readonly in: number;
  readonly out: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
}

/** Returns a new count with zeros. */
export function noDatagrams(): DatagramCount {
  const dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;
  return { in: 0, out: 0, dropped };
}
