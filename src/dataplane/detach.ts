/** Detaches connected sockets from Node: their descriptors, and the bytes that Node has read from them. */
import type net from "node:net";
import { socketFd } from "../net/socket-fd.ts";
import type { Syscalls } from "./syscalls.ts";

export interface DetachedSocket {
  /** A new descriptor of the connection, which the caller closes. */
  readonly fd: number;
  readonly bytes: Buffer;
}

/** Whether Node has neither bytes nor an error that a hand-over would lose. */
export function canDetach(socket: net.Socket): boolean {
  const isIdle = socket.writable && !socket.connecting && socket.writableLength === 0;
  return isIdle && !socket.destroyed && socket.errored === null;
}

/**
 * Detaches both sockets, which must be unchanged since `canDetach`. Node reads only between two turns of its event loop, so
 * no byte is lost; its `destroy` closes a descriptor without FIN and reset, as long as another one is open.
 *
 * @returns undefined if a descriptor cannot be duplicated; the sockets are then unchanged
 */
export function detachBoth(
  syscalls: Syscalls,
  sockets: readonly [net.Socket, net.Socket],
): readonly [DetachedSocket, DetachedSocket] | undefined {
  const [first, second] = sockets.map((socket) => duplicateOf(syscalls, socket)) as [number, number];
  if (first < 0 || second < 0) {
    for (const fd of [first, second]) if (fd >= 0) syscalls.close(fd);
    return undefined;
  }
  const [read, otherRead] = sockets.map(readAll) as [Buffer, Buffer];
  for (const socket of sockets) socket.destroy();
  return [
    { fd: first, bytes: read },
    { fd: second, bytes: otherRead },
  ];
}

/** Returns a negative number if no descriptor is free, or the socket's own is not known. */
function duplicateOf(syscalls: Syscalls, socket: net.Socket): number {
  try {
    return syscalls.duplicate(socketFd(socket));
  } catch {
    return -1;
  }
}

const NOTHING = Buffer.alloc(0);

function readAll(socket: net.Socket): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk);
  return chunks.length === 0 ? NOTHING : Buffer.concat(chunks);
}
