import type net from "node:net";
import { HttpHeadError, HttpHeadReader } from "../../../net/http-head.ts";
import { type Parsed, PeekError, peek } from "../../../net/peek.ts";
import type { Request } from "./answer.ts";

/** Of a request's head, in bytes: more than servers take. */
export const MAX_HEAD: number = 64 * 1024;
/** A client that was accepted and refused at once has its request still on the way. */
const LOOK_MS = 1_000;

/**
 * What a client that is not served has asked for, which is read and gone then; undefined when it has asked for nothing,
 * or does not speak HTTP/1. Answered at once where all of it is there. Never rejects. Of a request that has only begun its
 * method is known, if that.
 */
export function requestOf(socket: net.Socket): Request | undefined | Promise<Request | undefined> {
  const there: Buffer | null = socket.readableLength === 0 ? null : socket.read();
  if (there === null) return laterRequestOf(socket);
  try {
    const found = requestReader()(there);
    if (found !== undefined) return found.value;
  } catch (error) {
    return noneIn(error);
  }
  socket.unshift(there);
  return laterRequestOf(socket);
}

async function laterRequestOf(socket: net.Socket): Promise<Request | undefined> {
  let begun: Buffer = Buffer.alloc(0);
  const read = requestReader();
  const readMore: typeof read = (bytes) => {
    begun = bytes;
    return read(bytes);
  };
  const { signal } = new AbortController();
  try {
    return await peek(socket, { read: readMore, limit: MAX_HEAD, deadlineMs: LOOK_MS, signal });
  } catch (error) {
    if (!(error instanceof PeekError)) return noneIn(error);
    if (begun.length === 0) return undefined;
    return { method: begun.toString("latin1", 0, 32).trimStart().split(" ", 1).join(), headers: [] };
  }
}

function requestReader(): (bytes: Buffer) => Parsed<Request | undefined> | undefined {
  const reader = new HttpHeadReader();
  return (bytes) => {
    const head = reader.read(bytes);
    return head && { value: head.version.startsWith("1.") ? head : undefined, used: bytes.length };
  };
}

function noneIn(error: unknown): undefined {
  if (!(error instanceof HttpHeadError)) throw error;
}
