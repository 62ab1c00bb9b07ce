/** What the system dropped before wakeport saw it: a socket's receive buffer was full. */
import { socketInodes, socketRows, UNCONNECTED } from "../net/proc-net.ts";

/** The system's numbers of this process's sockets that receive on `port` from anybody. */
export function ownSockets(port: number): ReadonlySet<number> {
  const found = udpRows().filter(({ local, state }) => state === UNCONNECTED && portOf(local) === port);
  if (found.length === 0) return new Set();
  const own = new Set(socketInodes("self"));
  return new Set(found.map(({ inode }) => inode).filter((inode) => own.has(inode)));
}

/** How many datagrams found one of these sockets full. */
export function droppedBySystem(sockets: ReadonlySet<number>): number {
  if (sockets.size === 0) return 0;
  return udpRows()
    .filter(({ inode }) => sockets.has(inode))
    .reduce((sum, { dropped }) => sum + dropped, 0);
}

function udpRows(): ReturnType<typeof socketRows> {
  return [...socketRows("udp"), ...socketRows("udp6")];
}

function portOf(local: string): number {
  return Number.parseInt(local.split(":")[1] ?? "", 16);
}
