/** The kernel's tables of sockets. Only Linux has them; elsewhere they are empty. */
import { readFileSync } from "node:fs";

export type TableName = "tcp" | "tcp6" | "udp" | "udp6";

/** A TCP socket that listens, and a UDP one that is not connected. */
export const LISTENING = "0A";
/** A TCP connection that is open in both directions, and one whose other end has sent its FIN. */
export const ESTABLISHED = "01";
export const CLOSE_WAIT = "08";
export const UNCONNECTED = "07";

export interface SocketRow {
  /** Address and port as the kernel writes them: `0100007F:0015`. */
  readonly local: string;
  /** The other end, in the same form. */
  readonly remote: string;
  /** A number in two hexadecimal digits. */
  readonly state: string;
  /** The number by which the system knows the socket; 0 while no process has it. */
  readonly inode: number;
  /** Of UDP: datagrams that found the receive buffer full. */
  readonly dropped: number;
}

/** All sockets of one kind in the network that this process is in. */
export function socketRows(name: TableName): SocketRow[] {
  return textOf(`/proc/self/net/${name}`)
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .map((line) => {
      const [, local = "", remote = "", state = "", , , , , , inode, , , dropped] = line.trim().split(/\s+/);
      return { local, remote, state, inode: Number(inode), dropped: Number(dropped) || 0 };
    });
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    // No IPv6 here, or no Linux.
    return "";
  }
}
