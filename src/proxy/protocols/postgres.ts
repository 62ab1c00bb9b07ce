/**
 * PostgreSQL, protocol 3: held in silence. When it was in vain, a client is told so as by a server that is not up yet, in
 * the one place where it reads that: behind its startup message. Before that it may ask for encryption, which there is
 * none of here; so one that insists on it hears no more than that.
 */
import { peek } from "../../net/peek.ts";
import { notAvailable } from "./messages.ts";
import type { Protocol, WaitingClient } from "./protocol.ts";
import { silence } from "./raw.ts";

/** How long a client may take to come to its startup message. */
const STARTUP_MS = 2_000;
const HEADER_LENGTH = 8;
/** What a client may begin with, besides a startup message (PostgreSQL: Message Formats). */
const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;
const PROTOCOL_3 = 3;
const NO = "N";
/** cannot_connect_now: what a server says that is not up yet. */
const CANNOT_CONNECT_NOW = "57P03";

export type FirstMessage = "encryption" | "startup" | "other";

export const postgres: Protocol = {
  hold: (waitingClient) => ({ ...silence, refuse: (): Promise<Buffer | undefined> => refusal(waitingClient) }),
};

/** What the first message of a connection is, by its header; undefined when that is not complete. */
export function readFirst(bytes: Buffer): FirstMessage | undefined {
  if (bytes.length < HEADER_LENGTH) return undefined;
  const length = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(4);
  if ((code === SSL_REQUEST || code === GSSENC_REQUEST) && length === HEADER_LENGTH) return "encryption";
  return code >>> 16 === PROTOCOL_3 && length > HEADER_LENGTH ? "startup" : "other";
}

/** ErrorResponse: fields of text, each with its letter before and a zero behind it, and another zero at the end. */
export function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const header = Buffer.alloc(5);
  header.write("E");
  header.writeUInt32BE(4 + fields.length, 1);
  return Buffer.concat([header, fields]);
}

async function refusal({ socket, signal, progress }: WaitingClient): Promise<Buffer | undefined> {
  const until = performance.now() + STARTUP_MS;
  // One may ask for each kind of encryption once.
  for (let message = 0; message < 3; message += 1) {
    const first = await peek(socket, {
      read: (bytes) => {
        const value = readFirst(bytes);
        return value === undefined ? undefined : { value, used: value === "encryption" ? HEADER_LENGTH : 0 };
      },
      limit: HEADER_LENGTH,
      deadlineMs: Math.max(0, until - performance.now()),
      signal,
    }).catch(() => "other" as const);
    if (first === "startup") return errorResponse(CANNOT_CONNECT_NOW, notAvailable(progress.service));
    if (first === "other") break;
    socket.write(NO);
  }
  return Buffer.alloc(0);
}
