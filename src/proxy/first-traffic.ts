/** Waits for the first byte between a client and its upstream. Until then another upstream can serve the client. */
import type net from "node:net";
import { ExitedError } from "../activation/errors.ts";

/** Time for the end of a stream to arrive after its target is lost. The target's last bytes arrive before it. */
const END_MS = 1_000;
const EVENTS = ["readable", "end", "error", "close"] as const;

/**
 * Resolves when a byte can be relayed, or when none can follow. Both sockets are paused afterwards and still contain all
 * received bytes.
 *
 * @param lost aborted when the upstream's target is lost
 * @returns false if the upstream ended, failed or was lost, and no byte was sent to either side
 */
export function firstTraffic(client: net.Socket, upstream: net.Socket, lost: AbortSignal): Promise<boolean> {
  const isUpstreamOver = (): boolean => upstream.readableEnded || upstream.destroyed;
  const hasTraffic = (): boolean => {
    if (upstream.readableLength > 0) return true;
    return !isUpstreamOver() && (client.readableLength > 0 || client.readableEnded || client.destroyed);
  };
  const isOver = (): boolean => hasTraffic() || isUpstreamOver();
  if (isOver()) return Promise.resolve(hasTraffic());

  const { promise, resolve } = Promise.withResolvers<boolean>();
  let timer: NodeJS.Timeout | undefined;
  const settle = (): void => {
    clearTimeout(timer);
    lost.removeEventListener("abort", onLost);
    for (const socket of [client, upstream]) {
      for (const event of EVENTS) socket.off(event, onEvent);
      socket.pause();
    }
    resolve(hasTraffic());
  };
  const onEvent = (): void => {
    if (isOver()) settle();
  };
  const onLost = (): void => {
    if (lost.reason instanceof ExitedError) timer = setTimeout(settle, END_MS);
    else settle();
  };
  for (const socket of [client, upstream]) for (const event of EVENTS) socket.on(event, onEvent);
  lost.addEventListener("abort", onLost, { once: true });
  if (lost.aborted) onLost();
  return promise;
}
