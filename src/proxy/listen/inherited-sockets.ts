/** Listening sockets that whoever started us has bound for us, as systemd does: ports below 1024 without being root. */
import { closeSync, fstatSync } from "node:fs";
import net from "node:net";
import { messageOf } from "../../errors.ts";
import { LISTENING, type SocketRow, socketRows, UNCONNECTED } from "../../net/proc-net.ts";
import { formatListenAddress, type ListenAddress } from "./listener.ts";

const FIRST_FD = 3;

/** A socket that listens already, or is bound for datagrams. Without an address: on every address of the machine. */
export interface InheritedSocket extends ListenAddress {
  readonly fd: number;
  /** The address as it is bound: `::` and `0.0.0.0` are both no address to a front. */
  readonly bound: string;
}

/**
 * The descriptors that the protocol LISTEN_FDS hands to the process `pid`; none when they are somebody else's.
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
 * Finds the socket for each front that has one, and closes the rest.
 *
 * @param onStray told, in words, of each descriptor that fits no front
 */
export function claimInherited<T extends ListenAddress>(
  fds: readonly number[],
  listeners: readonly T[],
  onStray: (message: string) => void,
): ReadonlyMap<T, InheritedSocket> {
  const claimed = new Map<T, InheritedSocket>();
  // Of services that share a front one has the socket for all: a second one would be nobody's, and its clients held for ever.
  const each = [...Map.groupBy(listeners, formatListenAddress).values()].flatMap((same) => same.slice(0, 1));
  for (const fd of fds) {
    const socket = socketOf(fd);
    const listener = socket && each.find((one) => !claimed.has(one) && fits(socket, one));
    if (listener !== undefined) claimed.set(listener, socket as InheritedSocket);
    else discard(fd, socket, onStray);
  }
  return claimed;
}

function fits(socket: InheritedSocket, { address, port, protocol }: ListenAddress): boolean {
  if (port !== socket.port || protocol !== socket.protocol) return false;
  if (address === undefined || socket.address === undefined) {
    return address === socket.address || address === socket.bound;
  }
  return normal(address) === normal(socket.address);
}

function discard(fd: number, socket: InheritedSocket | undefined, onStray: (message: string) => void): void {
  const what =
    socket === undefined ? "is no socket of TCP that listens, and none of UDP" : `listens on ${boundAt(socket)}`;
  const remedy =
    socket === undefined ? "" : ', which is no front: name it in "ports", or take it out of the socket unit';
  onStray(`the inherited descriptor ${fd} ${what}${remedy}; it is closed`);
  try {
    closeSync(fd);
  } catch (error) {
    onStray(`the inherited descriptor ${fd} cannot be closed: ${messageOf(error)}`);
  }
}

function boundAt({ bound, port, protocol }: InheritedSocket): string {
  return formatListenAddress({ address: bound, port, ...(protocol && { protocol }) });
}

/** What a descriptor listens on, as the kernel lists it. */
function socketOf(fd: number): InheritedSocket | undefined {
  try {
    const { ino } = fstatSync(fd);
    const isIt = ({ inode }: SocketRow): boolean => inode === ino;
    const tcp = [...socketRows("tcp"), ...socketRows("tcp6")].find((row) => row.state === LISTENING && isIt(row));
    const udp = [...socketRows("udp"), ...socketRows("udp6")].find((row) => row.state === UNCONNECTED && isIt(row));
    const row = tcp ?? udp;
    if (row === undefined) return undefined;
    const [address = "", port = ""] = row.local.split(":");
    const bound = readAddress(address);
    const isWildcard = bound === "::" || bound === "0.0.0.0";
    return {
      fd,
      bound,
      port: Number.parseInt(port, 16),
      ...(!isWildcard && { address: bound }),
      ...(row === udp && { protocol: "udp" as const }),
    };
  } catch {
    return undefined;
  }
}

/** The kernel writes addresses as words of four bytes, each as a number of this machine. */
function readAddress(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => {
    const buffer = Buffer.from(word, "hex");
    return [...(isLittleEndian ? buffer.reverse() : buffer)];
  });
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return normal(groups.join(":"));
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The one way in which an address is written. */
function normal(address: string): string {
  const family = net.isIPv6(address) ? "ipv6" : "ipv4";
  return new net.SocketAddress({ address, family }).address;
}
