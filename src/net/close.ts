import type net from "node:net";

/** How long a peer may take to end its side of a connection that wakeport closes. */
const DRAIN_MS = 1_000;

/**
 * Closes a connection that wakeport opened, in the background. A plain close resets the connection if unread bytes are left
 * or arrive later, and some servers fail on that. So the own side is ended, and bytes are discarded until the peer ends its
 * side or a second has passed. Does not keep the process running.
 */
export function closeGracefully(socket: net.Socket): void {
  if (socket.destroyed) return;
  socket.on("error", () => {});
  const timer = setTimeout(() => socket.destroy(), DRAIN_MS);
  socket.once("close", () => clearTimeout(timer));
  timer.unref();
  socket.unref();
  socket.end();
  socket.resume();
}
