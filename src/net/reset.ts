import type net from "node:net";

/**
 * Resets a connection, in whatever state its own end is. The only door to `resetAndDestroy`: that fails while a shutdown is
 * under way (libuv: EINVAL), and leaves a socket behind that nobody closes any more.
 */
export function reset(socket: net.Socket): void {
  if (socket.destroyed) return;
  // All that was written has left for the system, and the end behind it: nothing of it is cut off by a close.
  if (isShuttingDown(socket)) socket.destroy();
  else socket.resetAndDestroy();
}

/** Whether its end is on its way, behind all that was written. */
export function isShuttingDown({ writableEnded, writableFinished, writableLength }: net.Socket): boolean {
  return writableEnded && !writableFinished && writableLength === 0;
}
