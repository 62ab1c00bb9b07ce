/** Waits until sent bytes have arrived: a reset discards what the kernel has not delivered yet. */
import type net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { readTable, sendQueueOf, type TableName } from "./proc-net.ts";

/** Interval of the polls, doubled after each. */
const MIN_POLL_MS = 5;
const MAX_POLL_MS = 100;

/**
 * Resolves when the peer has acknowledged all sent bytes, or the socket is closed, or after `limitMs` milliseconds; at
 * once without /proc/net. Never rejects.
 */
export async function sendQueueEmpty(socket: net.Socket, limitMs: number): Promise<void> {
  const { localAddress, localPort, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined || remotePort === undefined) return;
  // IPv4 clients of a dual-stack listener are in the table of IPv6.
  const table = localAddress.includes(":") ? "tcp6" : "tcp";
  const end = performance.now() + limitMs;
  for (let pollMs = MIN_POLL_MS; !socket.destroyed; pollMs = Math.min(2 * pollMs, MAX_POLL_MS)) {
    const isEmpty = sendQueueOf(await readShared(table), localPort, remotePort) === 0;
    if (isEmpty || performance.now() >= end) return;
    await pause(pollMs);
  }
}

interface SharedRead {
  current: Promise<string>;
  /** Begins after the current read. */
  next: Promise<string> | undefined;
}

const reads = new Map<TableName, SharedRead>();

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
