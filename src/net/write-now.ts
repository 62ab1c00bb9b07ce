import { writeSync } from "node:fs";
import type net from "node:net";
import { socketFd } from "./socket-fd.ts";

/**
 * Writes bytes without a wait, as many as the kernel takes.
 *
 * @returns the number of written bytes; 0 also if the descriptor is not known, or the write failed: a write of the socket
 *   then shows the error
 */
export function writeNow(socket: net.Socket, bytes: Buffer): number {
  if (socket.writableLength > 0 || socket.writableCorked > 0 || socket.connecting) return 0;
  try {
    return writeSync(socketFd(socket), bytes);
  } catch {
    return 0;
  }
}
