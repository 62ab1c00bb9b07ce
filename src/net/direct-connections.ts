/** Connections to the ports that local processes listen on, whatever program their clients are. */
import { CLOSE_WAIT, ESTABLISHED, LISTENING, type SocketRow } from "./socket-table.ts";

/** How the kernel writes an IPv4 address in the table of IPv6. */
const MAPPED = /^0{16}(?:FFFF0000|0000FFFF)(?=[0-9A-F]{8}:)/;

/** 127.0.0.0/8, the first byte of which comes last, and ::1. */
const LOOPBACK = /^(?:[0-9A-F]{6}7F|0{24}01000000):/;

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

/**
 * Counts the connections that clients from elsewhere have to the ports that are listened on in a network.
 *
 * @param rows of both tables of TCP of that network
 */
export function connectionsFromOutside(rows: readonly SocketRow[]): number {
  const ports = new Set(rows.filter(({ state }) => state === LISTENING).map(({ local }) => portOf(local)));
  const open = rows.filter(({ state, local }) => state === ESTABLISHED && ports.has(portOf(local)));
  return open.filter(({ remote }) => !LOOPBACK.test(plain(remote))).length;
}

function portOf(end: string): number {
  return Number.parseInt(end.split(":")[1] ?? "", 16);
}

/** An IPv4 address looks the same in both tables then. */
function plain(end: string): string {
  return end.replace(MAPPED, "");
}
