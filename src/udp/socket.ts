import dgram from "node:dgram";
import { once } from "node:events";
import { fstatSync } from "node:fs";
import { isIP } from "node:net";
import { socketRows } from "../net/proc-net.ts";

/** Bursts must wait somewhere while we are busy; the system gives what it allows (net.core.rmem_max). */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** More than this, not taken by the system, is no burst: the way out is blocked. */
const SEND_QUEUE_BYTES = 1024 * 1024;

export interface NewSocketOptions {
  readonly ipv6Only?: boolean;
  /** Whether other sockets of this process may have the same port; default: no. */
  readonly sharesPort?: boolean;
}

/** A datagram socket whose addresses are numbers: nothing is looked up for each datagram that is sent. */
export function newSocket(type: dgram.SocketType, options: NewSocketOptions = {}): dgram.Socket {
  const { ipv6Only = false, sharesPort: reusePort = false } = options;
  const family = type === "udp6" ? 6 : 4;
  const lookup: dgram.SocketOptions["lookup"] = (address, _options, callback) => callback(null, address, family);
  return dgram.createSocket({ type, ipv6Only, reusePort, lookup });
}

/** The kind of socket for a numeric address. */
export function typeFor(address: string): dgram.SocketType {
  return isIP(address) === 6 ? "udp6" : "udp4";
}

/** Whether a datagram socket that somebody else has made is one of IPv6. */
export function isIPv6Socket(fd: number): boolean {
  const { ino } = fstatSync(fd);
  return socketRows("udp6").some(({ inode }) => inode === ino);
}

/** Resolves when `event` comes; to be called before it can. @throws the error that comes first */
export async function ready(socket: dgram.Socket, event: "listening" | "connect"): Promise<void> {
  await once(socket, event);
}

/** Binds a new socket on all addresses. @throws the system's error; the socket is closed then */
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

/** As far as the system allows it. */
export function enlargeBuffer(socket: dgram.Socket): void {
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  } catch {
    // Then it is as large as it is.
  }
}

/** Whether what was sent before piles up, so that nothing more should be. */
export function isCongested(socket: dgram.Socket): boolean {
  return socket.getSendQueueSize() > SEND_QUEUE_BYTES;
}
