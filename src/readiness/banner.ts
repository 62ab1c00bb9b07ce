import type net from "node:net";
import { dial } from "../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-header.ts";
import { AnsweredError, afterHeader, type NamedProbe, until } from "./probe.ts";
import { PROBE_DIAL_MS } from "./tcp.ts";

/** A server may accept long before it greets. */
const GREETING_MS = 10_000;

/**
 * Ready when what accepts on `port` greets with `banner`: an FTP server's "220".
 *
 * @param send what it expects before it greets: a header of the PROXY protocol, here for nobody else than wakeport
 */
export function bannerProbe(port: number, banner: string, send?: ProxyVersion): NamedProbe {
  const expected = Buffer.from(banner);
  return {
    name: `banner ${JSON.stringify(banner)} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      until(async (attemptSignal, meets) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal });
        meets("it accepts connections, and has not greeted yet");
        const late = AbortSignal.timeout(GREETING_MS);
        try {
          if (send !== undefined) socket.write(proxyHeader(send));
          if (!(await greets(socket, expected, AbortSignal.any([attemptSignal, late]))))
            throw new AnsweredError(`greets otherwise than with "${banner}"`);
        } catch (error) {
          if (error !== late.reason) throw error;
          throw new AnsweredError(`it accepts connections, and does not greet within ${GREETING_MS / 1_000} s`);
        } finally {
          socket.destroy();
        }
      }, signal),
  };
}

/** Whether the first bytes that arrive are `expected`. */
function greets(socket: net.Socket, expected: Buffer, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const giveUp = (): void => reject(signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const known = received.subarray(0, expected.length);
      if (!expected.subarray(0, known.length).equals(known)) resolve(false);
      else if (known.length === expected.length) resolve(true);
    });
    socket.on("error", reject);
    socket.on("end", () => resolve(false));
    socket.on("close", () => {
      signal.removeEventListener("abort", giveUp);
      resolve(false);
    });
  });
}
