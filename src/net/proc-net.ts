/** The kernel's tables of sockets, /proc/net. Only Linux has them; elsewhere they are empty. */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";
import { formatIp, type Ip } from "./ip.ts";

export type TableName = "tcp" | "tcp6" | "udp" | "udp6";

/** States of TCP: listening, open in both directions, and after a FIN of the peer. */
export const LISTENING = "0A";
export const ESTABLISHED = "01";
export const CLOSE_WAIT = "08";
/** State of a UDP socket that is not connected. */
export const UNCONNECTED = "07";

export interface SocketRow {
  /** Address and port in the kernel's notation: `0100007F:0015`. */
  readonly local: string;
  /** The peer, in the same notation. */
  readonly remote: string;
  /** Two hexadecimal digits. */
  readonly state: string;
  /** Inode of the socket; 0 if no process has it. */
  readonly inode: number;
}

/** Returns all sockets of one kind in wakeport's network namespace. */
export function socketRows(name: TableName): SocketRow[] {
  try {
    return parse(readFileSync(fileOf(name), "latin1"));
  } catch {
    // No IPv6 here, or no Linux.
    return [];
  }
}

/**
 * Reads the same asynchronously, because the table is long on a busy machine.
 *
 * @param pid a process in the network namespace
 */
export async function readSocketRows(name: TableName, pid: number | "self" = "self"): Promise<SocketRow[]> {
  return parse(await readTable(name, pid));
}

/** Returns the text of a table for `sendQueueOf`; empty if there is no such table. */
export function readTable(name: TableName, pid: number | "self" = "self"): Promise<string> {
  return readFile(fileOf(name, pid), "latin1").catch(() => "");
}

/** Returns the number of bytes that a connection has sent and the peer has not acknowledged. Parses no other row. */
export function sendQueueOf(table: string, localPort: number, remotePort: number): number {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, "0");
  const row = new RegExp(`:${hex(localPort)} [0-9A-F]+:${hex(remotePort)} [0-9A-F]{2} ([0-9A-F]{8}):`, "g");
  return Math.max(0, ...[...table.matchAll(row)].map(([, bytes = ""]) => Number.parseInt(bytes, 16)));
}

/** Returns the inodes of a process's open sockets; empty if this user may not read them. */
export function socketInodes(pid: number | "self"): number[] {
  const folder = `/proc/${pid}/fd`;
  return namesIn(folder).flatMap((fd) => {
    try {
      return (
        /^socket:\[(\d+)\]$/
          .exec(readlinkSync(`${folder}/${fd}`))
          ?.slice(1)
          .map(Number) ?? []
      );
    } catch {
      // The descriptor was closed after readdir.
      return [];
    }
  });
}

/** Returns whether another process has a copy of this descriptor, among the processes that this user may read. */
export function isSharedSocket(fd: number): boolean {
  const { ino } = fstatSync(fd);
  const processes = namesIn("/proc").filter((name) => /^\d+$/.test(name));
  const own = processes.length === 0 ? undefined : readlinkSync("/proc/self");
  return processes.some((pid) => pid !== own && socketInodes(Number(pid)).includes(ino));
}

/** The kernel's prefix of an IPv4 address in a table of IPv6. */
const MAPPED = /^0{16}(?:FFFF0000|0000FFFF)(?=[0-9A-F]{8}(?::|$))/;

/** Returns the kernel's notation without the prefix of a mapped IPv4 address, as in a table of IPv4. */
export function withoutMapping(kernelAddress: string): string {
  return kernelAddress.replace(MAPPED, "");
}

/** Returns the port of `local` or `remote`. */
export function portOf(end: string): number {
  return Number.parseInt(end.split(":")[1] ?? "", 16);
}

/** Returns the address of `local` or `remote` as text: `127.0.0.1`, `::1`. */
export function addressOf(end: string): string {
  const words = Buffer.from(end.split(":")[0] ?? "", "hex");
  const bytes = [...(endianness() === "LE" ? words.swap32() : words)];
  return formatIp({ family: bytes.length === 4 ? "ipv4" : "ipv6", bytes });
}

/** Returns an address in the kernel's notation: words of four bytes, each as a number of this machine. */
export function kernelAddressOf({ bytes }: Ip): string {
  const network = Buffer.from(bytes);
  return (endianness() === "LE" ? network.swap32() : network).toString("hex").toUpperCase();
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function fileOf(name: TableName, pid: number | "self" = "self"): string {
  return `/proc/${pid}/net/${name}`;
}

function parse(table: string): SocketRow[] {
  return table
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .map((line) => {
      const [, local = "", remote = "", state = "", , , , , , inode] = line.trim().split(/\s+/);
      return { local, remote, state, inode: Number(inode) };
    });
}
