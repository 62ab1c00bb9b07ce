/**
 * Redis. A client waits with its commands unread. If the start fails, only a client that has sent a command gets an
 * error: another client would take the error for the reply to a later command.
 */
import { peek } from "../../net/peek.ts";
import { notAvailable } from "./messages.ts";
import type { Protocol, WaitingClient } from "./protocol.ts";
import { silence } from "./raw.ts";

/** Limit of the wait for a client's first command after the start failed. */
const COMMAND_MS = 1_000;
/** The first byte of a TLS handshake record. No command begins with it. */
const TLS_HANDSHAKE = 0x16;

export const redis: Protocol = {
  hold: (waitingClient) => ({
    ...silence,
    rejectionReply: (): Promise<Buffer | undefined> => rejectionReply(waitingClient),
  }),
};

async function rejectionReply({ socket, signal, progress }: WaitingClient): Promise<Buffer | undefined> {
  const read = ([first]: Buffer): { value: number | undefined; used: number } => ({ value: first, used: 0 });
  try {
    const first = await peek(socket, { read, limit: 1, deadlineMs: COMMAND_MS, signal });
    if (first === TLS_HANDSHAKE) return undefined;
    return Buffer.from(`-ERR ${notAvailable(progress.service)}\r\n`);
  } catch {
    return Buffer.alloc(0);
  }
}
