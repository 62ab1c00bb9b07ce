import { dial } from "../net/dial.ts";
import { keepConnection } from "../net/kept-connections.ts";
import { type NamedProbe, retryUntilReady } from "./probe.ts";

/** Deadline of a connection attempt. The address of a stopped machine does not refuse, so an attempt would hang. */
export const PROBE_DIAL_MS = 1_000;

/** Returns a probe that succeeds when a server accepts connections on `port`. */
export function tcpProbe(port: number): NamedProbe {
  return {
    name: `tcp ${port}`,
    check: ({ address: host, port: own = port }, signal) =>
      retryUntilReady(async (attemptSignal) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal, isProbe: true });
        keepConnection(host, own, socket);
      }, signal),
  };
}
