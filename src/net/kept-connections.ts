/**
 * Connections that a readiness probe opened and did not use. The next client of the port gets one without a second dial.
 * A server that accepts one connection at a time would not accept the second one.
 */
import type net from "node:net";
import { closeGracefully } from "./close.ts";

/** The client that woke the target dials within a few milliseconds. */
const KEEP_MS = 100;

interface Kept {
  readonly socket: net.Socket;
  readonly timer: NodeJS.Timeout;
}

const kept = new Map<string, Kept>();

/** Keeps an unused connection to `host:port` for the next call of `takeConnection`, for 100 ms; then closes it. */
export function keepConnection(host: string, port: number, socket: net.Socket): void {
  const key = keyOf(host, port);
  const earlier = takeConnection(host, port);
  if (earlier !== undefined) closeGracefully(earlier);
  const timer = setTimeout(() => {
    kept.delete(key);
    closeGracefully(socket);
  }, KEEP_MS);
  timer.unref();
  socket.on("error", ignore);
  kept.set(key, { socket, timer });
}

/** Returns undefined if no connection to `host:port` is kept, else the connection, which the caller owns from now on. */
export function takeConnection(host: string, port: number): net.Socket | undefined {
  if (kept.size === 0) return undefined;
  const key = keyOf(host, port);
  const found = kept.get(key);
  if (found === undefined) return undefined;
  kept.delete(key);
  clearTimeout(found.timer);
  found.socket.off("error", ignore);
  return found.socket.destroyed ? undefined : found.socket;
}

function keyOf(host: string, port: number): string {
  return `${host} ${port}`;
}

function ignore(): void {}
