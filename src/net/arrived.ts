/** Whether what was sent has arrived: a reset throws away what the system has not delivered yet. */
import { readFile } from "node:fs/promises";
import type net from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 5;

/**
 * Resolves when the other side has all that the system was given for it, or has left, or after `limitMs` milliseconds; at
 * once where the system does not tell (only Linux does). Never rejects.
 */
export async function arrived(socket: net.Socket, limitMs: number): Promise<void> {
  const { localPort, remotePort } = socket;
  if (localPort === undefined || remotePort === undefined) return;
  const end = performance.now() + limitMs;
  while (!socket.destroyed && queued(await freshTable(), localPort, remotePort) && performance.now() < end) {
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

let running: Promise<string> = Promise.resolve("");
let next: Promise<string> | undefined;

/** As the system has it from now on: all who ask meanwhile get the same. */
function freshTable(): Promise<string> {
  next ??= running.then(() => {
    next = undefined;
    running = readTables();
    return running;
  });
  return next;
}

async function readTables(): Promise<string> {
  const texts = ["tcp", "tcp6"].map((name) => readFile(`/proc/self/net/${name}`, "latin1").catch(() => ""));
  return (await Promise.all(texts)).join("\n");
}
