import type net from "node:net";
import { HttpHeadError, HttpHeadReader } from "../../../net/http-head.ts";
import { type Parsed, PeekError, peek } from "../../../net/peek.ts";
import type { Request } from "./answer.ts";

/** Limit of a request's head in bytes, higher than that of most servers. */
export const MAX_HEAD: number = 64 * 1024;
/** Limit of the wait for the request of a client that is rejected when it connects. */
const REQUEST_MS = 1_000;

/**
 * Reads and removes the request of a rejected client, synchronously if its head has arrived; an incomplete request has
 * only a method. Returns undefined if the client has sent none, or does not use HTTP/1. Never rejects.
 */
export function requestOf(socket: net.Socket): Request | undefined | Promise<Request | undefined> {
  const received: Buffer | null = socket.readableLength === 0 ? null : socket.read();
  if (received === null) return laterRequestOf(socket);
  try {
    const found = requestReader()(received);
    if (found !== undefined) return found.value;
  } catch (error) {
    return undefinedIfMalformed(error);
  }
  socket.unshift(received);
  return laterRequestOf(socket);
}

async function laterRequestOf(socket: net.Socket): Promise<Request | undefined> {
  let start: Buffer = Buffer.alloc(0);
  const read = requestReader();
  const readMore: typeof read = (bytes) => {
    start = bytes;
    return read(bytes);
  };
  const { signal } = new AbortController();
  try {
    return await peek(socket, { read: readMore, limit: MAX_HEAD, deadlineMs: REQUEST_MS, signal });
  } catch (error) {
    if (!(error instanceof PeekError)) return undefinedIfMalformed(error);
    if (start.length === 0) return undefined;
    return { method: start.toString("latin1", 0, 32).trimStart().split(" ", 1).join(), headers: [] };
  }
}

function requestReader(): (bytes: Buffer) => Parsed<Request | undefined> | undefined {
  const reader = new HttpHeadReader();
  return (bytes) => {
    const head = reader.read(bytes);
    return head && { value: head.version.startsWith("1.") ? head : undefined, used: bytes.length };
  };
}

function undefinedIfMalformed(error: unknown): undefined {
  if (!(error instanceof HttpHeadError)) throw error;
}
