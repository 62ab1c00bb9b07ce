/** Waits for those who say something before anything is done for them: whoever only looks in leaves again. */
import type net from "node:net";
import { PeekError, peek } from "../net/peek.ts";
import { ClientGoneError } from "./outcome.ts";

/**
 * Resolves when the client has said something, which is given back.
 *
 * @param patienceMs how long it may be silent, in milliseconds
 * @throws ClientGoneError for one that is silent for longer, or ends without a word; the reason of `signal`
 */
export async function firstByte(socket: net.Socket, patienceMs: number, signal: AbortSignal): Promise<void> {
  const read = (): { value: undefined; used: 0 } => ({ value: undefined, used: 0 });
  try {
    await peek(socket, { read, most: 1, deadlineMs: patienceMs, signal });
  } catch (error) {
    if (!(error instanceof PeekError)) throw error;
    const isLate = error.trouble === "too_late";
    const why = isLate ? `the client said nothing within ${patienceMs / 1000} s` : "the client ended without a word";
    throw new ClientGoneError(why, { cause: error });
  }
}
