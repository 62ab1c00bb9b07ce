/** Connections to the ports that local processes listen on, whatever program their clients are. */
import { CLOSE_WAIT, ESTABLISHED, LISTENING, type SocketRow } from "./socket-table.ts";

/** How the kernel writes an IPv4 address in the table of IPv6. */
const MAPPED = /^0{16}(?:FFFF0000|0000FFFF)(?=[0-9A-F]{8}:)/;

/**
 * Counts the open connections of each port that one of `sockets` listens on. A connection within the processes does not
 * count, nor does one whose client on this machine has closed it.
 *
 * @param rows of both tables of TCP
 * @param sockets the inodes of the processes' sockets
 * @param port that the processes listen on where their sockets cannot be read
 */
export function directConnections(
  rows: readonly SocketRow[],
  sockets: ReadonlySet<number>,
  port: number | undefined,
): ReadonlyMap<number, number> {
  const listening = rows.filter(({ state, inode }) => state === LISTENING && sockets.has(inode));
  const ports = new Set(listening.map(({ local }) => portOf(local)));
  const isTheirs = ({ inode }: SocketRow): boolean => inode === 0 || sockets.size === 0 || sockets.has(inode);
  if (sockets.size === 0 && port !== undefined) ports.add(port);
  const open = rows.filter((row) => row.state === ESTABLISHED || row.state === CLOSE_WAIT);
  const ends = new Map(rows.map((row) => [`${plain(row.local)} ${plain(row.remote)}`, row]));
  const counted = open.filter((row) => {
    if (!ports.has(portOf(row.local)) || !isTheirs(row)) return false;
    const client = ends.get(`${plain(row.remote)} ${plain(row.local)}`);
    return client === undefined || (client.inode !== 0 && !sockets.has(client.inode));
  });
  return new Map([...Map.groupBy(counted, ({ local }) => portOf(local))].map(([one, all]) => [one, all.length]));
}

function portOf(end: string): number {
  return Number.parseInt(end.split(":")[1] ?? "", 16);
}

/** An IPv4 address looks the same in both tables then. */
function plain(end: string): string {
  return end.replace(MAPPED, "");
}
