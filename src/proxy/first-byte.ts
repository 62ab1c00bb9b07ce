/** Waits for a client's first byte before its target is activated, because port scans and monitors send none. */
import type net from "node:net";
import { PeekError, peek } from "../net/peek.ts";
import { ClientGoneError } from "./outcome.ts";

/**
 * Resolves when the client has sent a byte, which stays in the socket.
 *
 * @param timeoutMs milliseconds
 * @throws ClientGoneError if the client sends nothing in that time, or ends before; the reason of `signal`
 */
export async function firstByte(socket: net.Socket, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const read = (): { value: undefined; used: 0 } => ({ value: undefined, used: 0 });
  try {
    await peek(socket, { read, limit: 1, deadlineMs: timeoutMs, signal });
  } catch (error) {
    if (!(error instanceof PeekError)) throw error;
    const isLate = error.reason === "too_late";
    const reason = isLate
      ? `the client sent nothing within ${timeoutMs / 1000} s`
      : "the client closed without sending a byte";
    throw new ClientGoneError(reason, { cause: error });
  }
}
