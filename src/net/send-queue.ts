/** Whether what was sent has arrived: a reset throws away what the system has not delivered yet. */
import { readFile } from "node:fs/promises";
import type net from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 5;

/**
 * Resolves when the other side has all that the system was given for it, or has left, or after `limitMs` milliseconds; at
 * once where the system does not tell (only Linux does). Never rejects.
 */
export async function sendQueueEmpty(socket: net.Socket, limitMs: number): Promise<void> {
  const { localAddress, localPort, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined || remotePort === undefined) return;
  // Of one that was told nothing there is nothing to look for.
  if (socket.bytesWritten === 0) return;
  // Where clients of both families are accepted, IPv4 is a part of IPv6.
  const table = localAddress.includes(":") ? ipv6 : ipv4;
  const end = performance.now() + limitMs;
  while (!socket.destroyed && queued(await table.read(), localPort, remotePort) && performance.now() < end) {
    await pause(POLL_MS);
  }
}

/** Whether a connection between these ports has bytes that were sent and not confirmed. */
function queued(table: string, localPort: number, remotePort: number): boolean {
  const row = new RegExp(`:${hex(localPort)} [0-9A-F]+:${hex(remotePort)} [0-9A-F]{2} ([0-9A-F]{8}):`, "g");
  return [...table.matchAll(row)].some(([, bytes = ""]) => Number.parseInt(bytes, 16) > 0);
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/**
 * One of the system's tables, read anew for all who ask at the same time; and, unlike in socket-table.ts, while everything
 * else goes on: it is long on a busy machine, and many connections may be reset at once.
 */
class Table {
  readonly #file: string;
  #running: Promise<string> = Promise.resolve("");
  #next: Promise<string> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** As it is from now on. */
  read(): Promise<string> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = readFile(this.#file, "latin1").catch(() => "");
      return this.#running;
    });
    return this.#next;
  }
}

const ipv4 = new Table("/proc/self/net/tcp");
const ipv6 = new Table("/proc/self/net/tcp6");
