/** Sockets that the parent process has bound, as systemd does: ports below 1024 without root. */
import { closeSync, fstatSync } from "node:fs";
import { messageOf } from "../../errors.ts";
import { isSameAddress } from "../../net/ip.ts";
import { addressOf, LISTENING, portOf, type SocketRow, socketRows, UNCONNECTED } from "../../net/proc-net.ts";
import { formatListenAddress, type ListenAddress } from "./listener.ts";

const FIRST_FD = 3;

/** A listening TCP socket, or a bound UDP socket. Without an address: bound to all addresses of the machine. */
export interface InheritedSocket extends ListenAddress {
  readonly fd: number;
  /** The bound address. `::` and `0.0.0.0` both give no `address`. */
  readonly bound: string;
}

/**
 * Returns the descriptors that LISTEN_FDS passes to the process `pid`; none if they are for another process.
 *
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
 */
export function listenFds(env: Readonly<Record<string, string | undefined>>, pid: number): readonly number[] {
  const { LISTEN_PID, LISTEN_FDS } = env;
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== pid || !Number.isSafeInteger(count) || count < 1) return [];
  return Array.from({ length: count }, (_, index) => FIRST_FD + index);
}

/**
 * Finds the inherited socket of each listen address, and closes the other sockets.
 *
 * @param onStray receives a message for each socket that no listen address matches
 */
export function claimInherited<T extends ListenAddress>(
  fds: readonly number[],
  listeners: readonly T[],
  onStray: (message: string) => void,
): ReadonlyMap<T, InheritedSocket> {
  const claimed = new Map<T, InheritedSocket>();
  // Services with the same listen address share one socket. Nothing would accept the clients of a second one.
  const distinct = [...Map.groupBy(listeners, formatListenAddress).values()].flatMap((same) => same.slice(0, 1));
  for (const fd of fds) {
    const socket = socketOf(fd);
    const listener = socket && distinct.find((one) => !claimed.has(one) && matches(socket, one));
    if (socket !== undefined && listener !== undefined) claimed.set(listener, socket);
    else discard(fd, socket, onStray);
  }
  return claimed;
}

function matches(socket: InheritedSocket, { address, port, protocol }: ListenAddress): boolean {
  if (port !== socket.port || protocol !== socket.protocol) return false;
  if (address === undefined || socket.address === undefined) {
    return address === socket.address || address === socket.bound;
  }
  return isSameAddress(address, socket.address);
}

function discard(fd: number, socket: InheritedSocket | undefined, onStray: (message: string) => void): void {
  const reason =
    socket === undefined
      ? "is neither a listening TCP socket nor a UDP socket"
      : `listens on ${boundAt(socket)}, which no service has: add it to "ports", or remove it from the socket unit`;
  onStray(`inherited descriptor ${fd} closed: it ${reason}`);
  try {
    closeSync(fd);
  } catch (error) {
    onStray(`cannot close inherited descriptor ${fd}: ${messageOf(error)}`);
  }
}

function boundAt({ bound, port, protocol }: InheritedSocket): string {
  return formatListenAddress({ address: bound, port, ...(protocol && { protocol }) });
}

/** Returns undefined if the kernel's tables do not list the descriptor as a bound socket. */
function socketOf(fd: number): InheritedSocket | undefined {
  try {
    const { ino } = fstatSync(fd);
    const isBound = ({ inode, state }: SocketRow, bound: string): boolean => inode === ino && state === bound;
    const tcp = [...socketRows("tcp"), ...socketRows("tcp6")].find((row) => isBound(row, LISTENING));
    const row = tcp ?? [...socketRows("udp"), ...socketRows("udp6")].find((udp) => isBound(udp, UNCONNECTED));
    if (row === undefined) return undefined;
    const bound = addressOf(row.local);
    const isWildcard = bound === "::" || bound === "0.0.0.0";
    return {
      fd,
      bound,
      port: portOf(row.local),
      ...(!isWildcard && { address: bound }),
      ...(row !== tcp && { protocol: "udp" as const }),
    };
  } catch {
    return undefined;
  }
}
