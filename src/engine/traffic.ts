/** What a container sent and received, as the engine counts it on each of its network interfaces. */

/** Bytes since the container started, by interface. Loopback is not among them. */
export type Traffic = ReadonlyMap<string, { readonly received: number; readonly sent: number }>;

/** One answer of `GET /containers/{id}/stats`, as far as it matters here. */
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
 * Returns how many bytes were exchanged between two readings: of each interface the smaller of sent and received.
 * A conversation has packets in both directions; broadcasts of neighbours are only received, and what the container
 * announces is only sent. An interface that is new, or whose counters were reset, counts from the later reading.
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
