/**
 * PostgreSQL, protocol 3. If the start fails, a client gets the error of a starting server after its startup message,
 * because it reads errors only there. Requests for encryption are denied before that, so a client that requires
 * encryption gets only the denial.
 */
import { peek } from "../../net/peek.ts";
import { notAvailable } from "./messages.ts";
import type { Protocol, WaitingClient } from "./protocol.ts";
import { silence } from "./raw.ts";

/** Limit of the wait for the startup message. */
const STARTUP_MS = 2_000;
const HEADER_LENGTH = 8;
/** Codes of requests before the startup message (PostgreSQL: Message Formats). */
const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;
const PROTOCOL_3 = 3;
const NO = "N";
/** cannot_connect_now: the error code of a server that is starting. */
const CANNOT_CONNECT_NOW = "57P03";

export type FirstMessage = "encryption" | "startup" | "other";

export const postgres: Protocol = {
  hold: (waitingClient) => ({
    ...silence,
    rejectionReply: (): Promise<Buffer | undefined> => rejectionReply(waitingClient),
  }),
};

/** Returns the kind of the first message of a connection, or undefined if its header is incomplete. */
export function readFirst(bytes: Buffer): FirstMessage | undefined {
  if (bytes.length < HEADER_LENGTH) return undefined;
  const length = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(4);
  if ((code === SSL_REQUEST || code === GSSENC_REQUEST) && length === HEADER_LENGTH) return "encryption";
  return code >>> 16 === PROTOCOL_3 && length > HEADER_LENGTH ? "startup" : "other";
}

/** Returns an ErrorResponse: fields of a letter, a text and a zero byte each, and another zero byte at the end. */
export function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const header = Buffer.alloc(5);
  header.write("E");
  header.writeUInt32BE(4 + fields.length, 1);
  return Buffer.concat([header, fields]);
}

async function rejectionReply({ socket, signal, progress }: WaitingClient): Promise<Buffer | undefined> {
  const endsAt = performance.now() + STARTUP_MS;
  // A client may request each kind of encryption once.
  for (let message = 0; message < 3; message += 1) {
    const first = await peek(socket, {
      read: (bytes) => {
        const value = readFirst(bytes);
        return value === undefined ? undefined : { value, used: value === "encryption" ? HEADER_LENGTH : 0 };
      },
      limit: HEADER_LENGTH,
      deadlineMs: Math.max(0, endsAt - performance.now()),
      signal,
    }).catch(() => "other" as const);
    if (first === "startup") return errorResponse(CANNOT_CONNECT_NOW, notAvailable(progress.service));
    if (first === "other") break;
    socket.write(NO);
  }
  return Buffer.alloc(0);
}
