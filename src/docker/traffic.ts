/** Traffic of a container, as counted by the engine for each network interface. */

/** Bytes since the container started, by interface. Loopback is not counted. */
export type Traffic = ReadonlyMap<string, { readonly received: number; readonly sent: number }>;

/** The used part of the answer to `GET /containers/{id}/stats`. */
interface RawStats {
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
}

/** Returns undefined for a container that uses the network of the host or of another container. */
export function trafficOf({ networks }: RawStats): Traffic | undefined {
  if (networks === undefined || networks === null) return undefined;
  const counters = Object.entries(networks).map(
    ([name, { rx_bytes, tx_bytes }]) => [name, { received: rx_bytes, sent: tx_bytes }] as const,
  );
  return counters.length === 0 ? undefined : new Map(counters);
}

/**
 * Returns the bytes exchanged between two readings: for each interface the smaller of sent and received, so that
 * broadcasts do not count. A new interface, or one with reset counters, counts from the later reading.
 */
export function exchangedBytes(before: Traffic, after: Traffic): number {
  let bytes = 0;
  for (const [name, { received, sent }] of after) {
    const from = before.get(name);
    if (from === undefined) continue;
    bytes += Math.max(0, Math.min(received - from.received, sent - from.sent));
  }
  return bytes;
}
