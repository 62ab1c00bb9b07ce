/** Waits until sent bytes have arrived: a reset discards what the kernel has not delivered yet. */
import type net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { readTable, sendQueueOf, type TableName } from "./proc-net.ts";
import { isShuttingDown } from "./reset.ts";

/** Interval of the polls, doubled after each without progress. */
const MIN_POLL_MS = 5;
const MAX_POLL_MS = 100;

/**
 * Resolves when the peer has acknowledged all written bytes and the FIN, or the socket is closed; without /proc/net, when
 * the kernel has them. Never rejects.
 *
 * @param onProgress called when the peer has acknowledged some of them since the last poll
 */
export async function delivered(socket: net.Socket, onProgress: () => void): Promise<void> {
  const { localAddress = "", localPort, remotePort } = socket;
  if (localPort === undefined || remotePort === undefined) return;
  // IPv4 clients of a dual-stack listener are in the table of IPv6.
  const table = localAddress.includes(":") ? "tcp6" : "tcp";
  let left = Number.POSITIVE_INFINITY;
  for (let pollMs = MIN_POLL_MS; !socket.destroyed; pollMs = Math.min(2 * pollMs, MAX_POLL_MS)) {
    const queued = sendQueueOf(await readShared(table), localPort, remotePort) + socket.writableLength;
    if (queued === 0 && !isShuttingDown(socket)) return;
    if (queued < left) {
      if (left !== Number.POSITIVE_INFINITY) onProgress();
      pollMs = MIN_POLL_MS;
      left = queued;
    }
    await pause(pollMs);
  }
}

interface TableRead {
  current: Promise<string>;
  /** Begins after the current read. */
  next: Promise<string> | undefined;
}

const reads = new Map<TableName, TableRead>();

/** Reads a table as it is after the call. Reads do not overlap, and callers share a read that has not begun. */
function readShared(name: TableName): Promise<string> {
  const reading = reads.get(name) ?? { current: Promise.resolve(""), next: undefined };
  reads.set(name, reading);
  reading.next ??= reading.current.then(() => {
    reading.next = undefined;
    reading.current = readTable(name);
    return reading.current;
  });
  return reading.next;
}
