/** Waits for those who say something before anything is done for them: whoever only looks in leaves again. */
import type net from "node:net";
import { PeekError, peek } from "../net/peek.ts";
import { ClientGoneError } from "./outcome.ts";

/**
 * Resolves when the client has said something, which is given back.
 *
 * @param timeoutMs how long it may be silent, in milliseconds
 * @throws ClientGoneError for one that is silent for longer, or ends without a word; the reason of `signal`
 */
export async function firstByte(socket: net.Socket, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const read = (): { value: undefined; used: 0 } => ({ value: undefined, used: 0 });
  try {
    await peek(socket, { read, limit: 1, deadlineMs: timeoutMs, signal });
  } catch (error) {
    if (!(error instanceof PeekError)) throw error;
    const isLate = error.reason === "too_late";
    const why = isLate ? `the client said nothing within ${timeoutMs / 1000} s` : "the client ended without a word";
    throw new ClientGoneError(why, { cause: error });
  }
}
