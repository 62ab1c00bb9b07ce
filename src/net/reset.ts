import type net from "node:net";

/**
 * Resets a connection, in any state of its own end. The only caller of `resetAndDestroy`: during a shutdown that fails
 * with EINVAL (libuv) and leaves an open socket behind.
 */
export function reset(socket: net.Socket): void {
  if (socket.destroyed) return;
  // The kernel has all written bytes and the FIN behind them, and a close discards none of them.
  if (isShuttingDown(socket)) socket.destroy();
  else socket.resetAndDestroy();
}

/** Whether the FIN is being sent, behind all written bytes. */
export function isShuttingDown({ writableEnded, writableFinished, writableLength }: net.Socket): boolean {
  return writableEnded && !writableFinished && writableLength === 0;
}
