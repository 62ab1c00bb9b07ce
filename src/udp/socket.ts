import dgram from "node:dgram";
import { once } from "node:events";
import { fstatSync } from "node:fs";
import { isIP } from "node:net";
import { socketRows } from "../net/proc-net.ts";

/** Room for bursts while the event loop is busy. The kernel limits it to net.core.rmem_max. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** A longer send queue is not a burst: the network does not accept datagrams. */
const SEND_QUEUE_BYTES = 1024 * 1024;

export interface NewSocketOptions {
  readonly ipv6Only?: boolean;
  /** Whether other sockets of this process may have the same port; default: no. */
  readonly sharesPort?: boolean;
}

/** Returns a datagram socket for numeric addresses, which sends without name lookups. */
export function newSocket(type: dgram.SocketType, options: NewSocketOptions = {}): dgram.Socket {
  const { ipv6Only = false, sharesPort: reusePort = false } = options;
  const family = type === "udp6" ? 6 : 4;
  const lookup: dgram.SocketOptions["lookup"] = (address, _options, callback) => callback(null, address, family);
  return dgram.createSocket({ type, ipv6Only, reusePort, lookup });
}

/** Returns the socket type for a numeric address. */
export function typeFor(address: string): dgram.SocketType {
  return isIP(address) === 6 ? "udp6" : "udp4";
}

/** Returns whether an inherited datagram socket is an IPv6 socket. */
export function isIPv6Socket(fd: number): boolean {
  const { ino } = fstatSync(fd);
  return socketRows("udp6").some(({ inode }) => inode === ino);
}

/** Waits for `event`; call it before the event can occur. @throws the socket's error */
export async function ready(socket: dgram.Socket, event: "listening" | "connect"): Promise<void> {
  await once(socket, event);
}

/** Binds a new socket on all addresses. @throws the kernel's error; the socket is then closed */
export async function bind(socket: dgram.Socket, port: number): Promise<void> {
  try {
    const bound = ready(socket, "listening");
    socket.bind({ port, exclusive: true });
    await bound;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Enlarges the receive buffer, up to the kernel's limit. */
export function enlargeBuffer(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch {
    // The default size remains.
  }
}

/** Returns whether the send queue is so long that no more datagrams should be sent. */
export function isCongested(socket: dgram.Socket): boolean {
  return socket.getSendQueueSize() > SEND_QUEUE_BYTES;
}
