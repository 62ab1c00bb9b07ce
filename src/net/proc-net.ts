/** The kernel's tables of sockets. Only Linux has them; elsewhere they are empty. */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";

export type TableName = "tcp" | "tcp6" | "udp" | "udp6";

/** A TCP socket that listens, and a UDP one that is not connected. */
export const LISTENING = "0A";
/** States: open in both directions, and after a FIN of the peer. */
export const ESTABLISHED = "01";
export const CLOSE_WAIT = "08";
export const UNCONNECTED = "07";

export interface SocketRow {
  /** Address and port as the kernel writes them: `0100007F:0015`. */
  readonly local: string;
  /** The peer, in the same form. */
  readonly remote: string;
  /** A number in two hexadecimal digits. */
  readonly state: string;
  /** Inode of the socket; 0 while no process has it. */
  readonly inode: number;
}

/** All sockets of one kind in the network that this process is in. */
export function socketRows(name: TableName): SocketRow[] {
  try {
    return parse(readFileSync(fileOf(name), "latin1"));
  } catch {
    // No IPv6 here, or no Linux.
    return [];
  }
}

/**
 * The same, asynchronously, because the table is long on a busy machine.
 *
 * @param pid a process in the network namespace
 */
export async function readSocketRows(name: TableName, pid: number | "self" = "self"): Promise<SocketRow[]> {
  return parse(await readFile(fileOf(name, pid), "latin1").catch(() => ""));
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
      // Closed meanwhile.
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
