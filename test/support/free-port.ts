/**
 * Free ports for tests. Test files run concurrently, each in its own process: a process reserves a block of ports by
 * listening on the first one, which the kernel releases when the process ends.
 */
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";

/** Below 32768, where Linux begins to choose ports for outgoing connections and for listeners on port 0. */
const FIRST_PORT = 10_000;
const BLOCK_SIZE = 100;
const BLOCKS = 220;

/** Number of sockets that reserve blocks. They stay open until the process ends. */
let reservingSockets = 0;
/** The ports of the reserved block that were not handed out yet. */
const remaining: number[] = [];
/** The number of the first reserved block, from 1. */
let ownNumber: number | undefined;
/** Processes begin at different blocks, so that a port is not used again immediately. */
let nextBlock = process.pid % BLOCKS;

/** Returns a port that is free for TCP and UDP, and that no other call returns while this process runs. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = remaining.shift();
    if (port === undefined) await reserveBlock();
    else if ((await isFreeForTcp(port)) && (await isFreeForUdp(port))) return port;
  }
}

/** Returns a number from 1 to 220 that no other test process of this machine has. */
export async function processNumber(): Promise<number> {
  if (ownNumber === undefined) await reserveBlock();
  return ownNumber!;
}

/** Returns the number of open sockets that reserve ports, for tests that count open sockets. */
export function portReservations(): number {
  return reservingSockets;
}

async function reserveBlock(): Promise<void> {
  for (let attempts = 0; attempts < BLOCKS; attempts += 1) {
    const first = FIRST_PORT + nextBlock * BLOCK_SIZE;
    nextBlock = (nextBlock + 1) % BLOCKS;
    const lock = await listen(first);
    if (lock === undefined) continue;
    lock.unref();
    ownNumber ??= 1 + (first - FIRST_PORT) / BLOCK_SIZE;
    reservingSockets += 1;
    // Another call of this process may have reserved a block in the meantime.
    remaining.push(...Array.from({ length: BLOCK_SIZE - 1 }, (_, index) => first + 1 + index));
    return;
  }
  throw new Error(`all ports from ${FIRST_PORT} to ${FIRST_PORT + BLOCKS * BLOCK_SIZE - 1} are reserved`);
}

/** Returns undefined if the port is taken. */
async function listen(port: number): Promise<net.Server | undefined> {
  // Exclusive: a worker of node:cluster would share the port of its parent.
  const server = net.createServer().listen({ port, host: "0.0.0.0", exclusive: true });
  return once(server, "listening").then(
    () => server,
    () => undefined,
  );
}

async function isFreeForTcp(port: number): Promise<boolean> {
  const server = await listen(port);
  if (server === undefined) return false;
  server.close();
  await once(server, "close");
  return true;
}

async function isFreeForUdp(port: number): Promise<boolean> {
  const socket = dgram.createSocket("udp4");
  socket.bind({ port, address: "0.0.0.0", exclusive: true });
  const isFree = await once(socket, "listening").then(
    () => true,
    () => false,
  );
  socket.close();
  return isFree;
}
