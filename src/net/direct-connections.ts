/** Counts direct connections: to ports on which local processes or containers listen. */
import { endianness } from "node:os";
import { type Ip, readIp } from "./ip.ts";
import { CLOSE_WAIT, ESTABLISHED, LISTENING, type SocketRow } from "./proc-net.ts";

/** The kernel's notation of an IPv4 address in the table of IPv6. */
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
  const addresses = new Map(rows.map((row) => [`${plain(row.local)} ${plain(row.remote)}`, row]));
  const counted = open.filter((row) => {
    if (!ports.has(portOf(row.local)) || !isTheirs(row)) return false;
    const client = addresses.get(`${plain(row.remote)} ${plain(row.local)}`);
    return client === undefined || (client.inode !== 0 && !sockets.has(client.inode));
  });
  return new Map([...Map.groupBy(counted, ({ local }) => portOf(local))].map(([one, all]) => [one, all.length]));
}

/**
 * Counts the connections that clients from elsewhere have to the ports that are listened on in a network.
 *
 * @param rows of both tables of TCP of that network
 * @param own the addresses of the network; a connection to an address that was removed is dead, and remains in the table
 * @param except addresses whose connections do not count
 */
export function connectionsFromOutside(
  rows: readonly SocketRow[],
  own: readonly string[],
  except: readonly string[] = [],
): number {
  const ports = new Set(rows.filter(({ state }) => state === LISTENING).map(({ local }) => portOf(local)));
  const open = rows.filter(({ state, local }) => state === ESTABLISHED && ports.has(portOf(local)));
  // A client within the network has its own end in the same tables.
  const inside = new Set(rows.map(({ local, remote }) => `${plain(local)} ${plain(remote)}`));
  const [ours, others] = [asKernelWrites(own), asKernelWrites(except)];
  return open.filter(({ local, remote }) => {
    const isInside = inside.has(`${plain(remote)} ${plain(local)}`);
    return ours.has(addressOf(local)) && !isInside && !others.has(addressOf(remote));
  }).length;
}

function addressOf(end: string): string {
  return plain(end).split(":")[0] ?? "";
}

/** The words of four bytes in hexadecimal digits, in the order of bytes of the machine. */
function asKernelWrites(addresses: readonly string[]): ReadonlySet<string> {
  const written = ({ bytes }: Ip): string => {
    const network = Buffer.from(bytes);
    const words = endianness() === "LE" ? network.swap32() : network;
    return words.toString("hex").toUpperCase();
  };
  return new Set(addresses.flatMap((address) => readIp(address) ?? []).map(written));
}

function portOf(end: string): number {
  return Number.parseInt(end.split(":")[1] ?? "", 16);
}

/** An IPv4 address looks the same in both tables then. */
function plain(end: string): string {
  return end.replace(MAPPED, "");
}
