import net from "node:net";
import { DeadlineError } from "../errors.ts";
import { takeConnection } from "./kept-connections.ts";

/** Idle time after which the kernel sends keep-alive probes. */
export const KEEP_ALIVE_MS = 60_000;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  /** Limit of the connect in milliseconds. */
  readonly timeoutMs: number;
  /** Ends the dial, as does each of several. */
  readonly signal: AbortSignal | readonly AbortSignal[];
  /** Source address; default: the kernel's choice. */
  readonly localAddress?: string;
  /** Whether the connection must be new, because its success shows that the server accepts. Default: no. */
  readonly isProbe?: boolean;
}

/**
 * Connects to `host:port`. The socket allows half-open connections and has keep-alive on.
 *
 * @throws the system's error (ECONNREFUSED, EHOSTUNREACH …), DeadlineError, or the reason of a signal
 */
export function dial({ host, port, timeoutMs, signal, localAddress, isProbe }: DialOptions): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const signals = [signal].flat();
    const aborted = signals.find((one) => one.aborted);
    if (aborted !== undefined) return reject(aborted.reason);
    const kept = isProbe || localAddress !== undefined ? undefined : takeConnection(host, port);
    if (kept !== undefined) return resolve(kept);
    const socket = net.connect({
      host,
      port,
      ...(localAddress !== undefined && { localAddress }),
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const giveUp = (event: Event): void => fail((event.target as AbortSignal).reason);
    const onLate = (): void => {
      const limit = `${Number((timeoutMs / 1000).toPrecision(2))} s`;
      fail(new DeadlineError(`${host}:${port} did not accept within ${limit}`));
    };
    const timer = setTimeout(onLate, timeoutMs);
    function settle(): void {
      clearTimeout(timer);
      for (const one of signals) one.removeEventListener("abort", giveUp);
      socket.off("error", fail);
    }
    function fail(error: unknown): void {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    }
    // AbortSignal.any() would cost more than the rest of a dial.
    for (const one of signals) one.addEventListener("abort", giveUp, { once: true });
    socket.once("error", fail);
    socket.once("connect", () => {
      settle();
      resolve(socket);
    });
  });
}
