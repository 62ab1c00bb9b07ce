import type net from "node:net";

/** Time for a peer to end its side of a connection that wakeport closes. */
const DRAIN_MS = 1_000;

/**
 * Closes a connection that wakeport opened, in the background. A plain close with unread bytes becomes a reset, on which
 * some servers fail, so bytes are discarded until the peer ends its side or the time is over.
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
