/**
 * What the system dropped before wakeport saw it: a socket's receive buffer was full. Only Linux tells, in the tables of
 * its sockets; elsewhere nothing is known.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const TABLES = ["/proc/self/net/udp", "/proc/self/net/udp6"];
const OWN_FILES = "/proc/self/fd";
const UNCONNECTED = "07";

interface Row {
  readonly port: number;
  readonly state: string;
  /** The number by which the system knows the socket. */
  readonly inode: string;
  readonly dropped: number;
}

/** The numbers of this process's sockets that receive on `port` from anybody: one, or where two addresses share it, more. */
export function ownSockets(port: number): ReadonlySet<string> {
  const found = rows().filter((row) => row.port === port && row.state === UNCONNECTED);
  if (found.length === 0) return new Set();
  const own = new Set(ownFiles());
  return new Set(found.map(({ inode }) => inode).filter((inode) => own.has(`socket:[${inode}]`)));
}

/** How many datagrams each socket was too full for. */
export function droppedBySystem(sockets: ReadonlySet<string>): number {
  if (sockets.size === 0) return 0;
  return rows()
    .filter(({ inode }) => sockets.has(inode))
    .reduce((sum, { dropped }) => sum + dropped, 0);
}

function rows(): Row[] {
  return TABLES.flatMap((table) => {
    const lines = textOf(table).trim().split("\n").slice(1);
    return lines.map((line) => {
      const fields = line.trim().split(/\s+/);
      const [, local = "", , state = "", , , , , , inode = "", , , dropped] = fields;
      return { port: Number.parseInt(local.split(":").at(-1) ?? "", 16), state, inode, dropped: Number(dropped) };
    });
  });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
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
