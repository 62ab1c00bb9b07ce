/** Counts direct connections: to ports on which local processes or containers listen. */
import { readIp } from "./ip.ts";
import {
  CLOSE_WAIT,
  ESTABLISHED,
  kernelAddressOf,
  LISTENING,
  withoutMapping as plain,
  portOf,
  type SocketRow,
} from "./proc-net.ts";

/**
 * Counts the open connections of each port that one of `sockets` listens on. A connection within the processes does not
 * count, nor does one whose client on this machine has closed it.
 *
 * @param rows both tables of TCP
 * @param sockets the inodes of the processes' sockets
 * @param port the processes' port, for processes whose sockets cannot be read
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
  const addresses = new Map(rows.map((row) => [`${plain(row.local)} ${plain(row.remote)}`, row]));
  const counted = open.filter((row) => {
    if (!ports.has(portOf(row.local)) || !isTheirs(row)) return false;
    const client = addresses.get(`${plain(row.remote)} ${plain(row.local)}`);
    return client === undefined || (client.inode !== 0 && !sockets.has(client.inode));
  });
  return new Map([...Map.groupBy(counted, ({ local }) => portOf(local))].map(([one, all]) => [one, all.length]));
}

/**
 * Counts the connections of clients outside a network namespace to listening ports inside.
 *
 * @param rows both tables of TCP of the namespace
 * @param own the namespace's addresses; a connection to a removed address is dead, and remains in the table
 * @param except client addresses whose connections do not count
 */
export function connectionsFromOutside(
  rows: readonly SocketRow[],
  own: readonly string[],
  except: readonly string[] = [],
): number {
  const ports = new Set(rows.filter(({ state }) => state === LISTENING).map(({ local }) => portOf(local)));
  const open = rows.filter(({ state, local }) => state === ESTABLISHED && ports.has(portOf(local)));
  // A client inside the namespace has its own end in the same tables.
  const inside = new Set(rows.map(({ local, remote }) => `${plain(local)} ${plain(remote)}`));
  const [ours, others] = [kernelAddresses(own), kernelAddresses(except)];
  return open.filter(({ local, remote }) => {
    const isInside = inside.has(`${plain(remote)} ${plain(local)}`);
    return ours.has(addressOf(local)) && !isInside && !others.has(addressOf(remote));
  }).length;
}

function addressOf(end: string): string {
  return plain(end).split(":")[0] ?? "";
}

function kernelAddresses(addresses: readonly string[]): ReadonlySet<string> {
  return new Set(addresses.flatMap((address) => readIp(address) ?? []).map(kernelAddressOf));
}
