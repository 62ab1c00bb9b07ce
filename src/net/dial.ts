import net from "node:net";
import { DeadlineError } from "../errors.ts";

/** Idle time after which the kernel sends keep-alive probes. */
export const KEEP_ALIVE_MS = 60_000;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  /** Limit of the connect in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Source address; default: the kernel's choice. */
  readonly localAddress?: string;
}

/**
 * Connects to `host:port`. The socket allows half-open connections and has keep-alive on.
 *
 * @throws the system's error (ECONNREFUSED, EHOSTUNREACH …), DeadlineError, or the reason of `signal`
 */
export function dial({ host, port, timeoutMs, signal, localAddress }: DialOptions): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = net.connect({
      host,
      port,
      ...(localAddress !== undefined && { localAddress }),
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const giveUp = (): void => fail(signal.reason);
    const timer = setTimeout(
      () =>
        fail(new DeadlineError(`${host}:${port} did not accept within ${Number((timeoutMs / 1000).toPrecision(2))} s`)),
      timeoutMs,
    );
    function settle(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      socket.off("error", fail);
    }
    function fail(error: unknown): void {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    }
    signal.addEventListener("abort", giveUp, { once: true });
    socket.once("error", fail);
    socket.once("connect", () => {
      settle();
      resolve(socket);
    });
  });
}
