import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { type NamedProbe, until } from "./probe.ts";

/** A stopped machine's address does not refuse, it hangs for seconds: no attempt waits longer than this. */
export const PROBE_DIAL_MS = 1_000;

/** Ready when something accepts on `port`. */
export function tcpProbe(port: number): NamedProbe {
  return {
    name: `tcp ${port}`,
    check: ({ address: host, port: own = port }, signal) =>
      until(async (attemptSignal) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal });
        closeGracefully(socket);
      }, signal),
  };
}
