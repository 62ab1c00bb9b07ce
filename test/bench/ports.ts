import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const HOST = "127.0.0.1";
const RETRY_MS = 20;
const LISTEN_STATE = "0A";

export function dial(port: number, host = HOST): Socket {
  return createConnection({ host, port, allowHalfOpen: true });
}

/** Connects as soon as the port is open. */
export async function dialWhenOpen(port: number, signal: AbortSignal, host = HOST): Promise<Socket> {
  for (;;) {
    if (signal.aborted) throw new Error(`Cannot connect to port ${port}: ${String(signal.reason)}`);
    const socket = dial(port, host);
    try {
      await once(socket, "connect");
      return socket;
    } catch {
      await delay(RETRY_MS);
    }
  }
}

/**
 * Counts the sockets of a relay: accepted on `listenPort` and dialled to `upstream`. Sockets that no
 * process owns any more (TIME_WAIT and others, inode 0) belong to the kernel.
 */
export async function relaySockets(listenPort: number, upstream: number): Promise<number> {
  const table = await readFile("/proc/net/tcp", "latin1");
  const rows = table.trim().split("\n").slice(1);
  return rows.filter((row) => {
    const [, local = "", remote = "", state, , , , , , inode] = row.trim().split(/\s+/);
    const isRelayed = portOf(local) === listenPort || portOf(remote) === upstream;
    return isRelayed && state !== LISTEN_STATE && inode !== "0";
  }).length;
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.indexOf(":") + 1), 16);
}
