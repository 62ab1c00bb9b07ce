/** What the system dropped before wakeport saw it: a socket's receive buffer was full. */
import { readdirSync, readlinkSync } from "node:fs";
import { socketRows, UNCONNECTED } from "../socket-table.ts";

const OWN_FILES = "/proc/self/fd";

/** The system's numbers of this process's sockets that receive on `port` from anybody. */
export function ownSockets(port: number): ReadonlySet<number> {
  const found = udpRows().filter(({ local, state }) => state === UNCONNECTED && portOf(local) === port);
  if (found.length === 0) return new Set();
  const own = new Set(ownFiles());
  return new Set(found.map(({ inode }) => inode).filter((inode) => own.has(`socket:[${inode}]`)));
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

function ownFiles(): string[] {
  return readdirSync(OWN_FILES).flatMap((file) => {
    try {
      return readlinkSync(`${OWN_FILES}/${file}`);
    } catch {
      // Closed meanwhile: the folder itself is one of those.
      return [];
    }
  });
}
