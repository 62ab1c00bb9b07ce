/** Passes a listening socket to a program that accepts the clients itself, as inetd does with `wait`. */
import { delay } from "../../async/wait.ts";
import { messageOf } from "../../errors.ts";
import { isSharedSocket } from "../../net/proc-net.ts";
import { formatListenAddress, type Listener } from "./listener.ts";

/** Pauses between attempts to accept again: another process may still have the socket. */
const MIN_RETRY_MS = 5;
const MAX_RETRY_MS = 5_000;
/** Duration of failed attempts after which the failure is reported. */
const REPORT_MS = 5_000;

/** Passes the descriptor to `use` and stops accepting: from now on a process with a copy of it accepts. */
export function handOver<T>(listener: Listener, use: (fd: number) => T): T {
  try {
    return use(listener.fd);
  } finally {
    listener.pause();
  }
}

/**
 * Accepts again after `handOver`, as soon as no other process does. Ends if the listener is closed. Never rejects.
 *
 * @param onFailure receives, at most once, what delays it
 */
export async function resumeListening(listener: Listener, onFailure: (message: string) => void): Promise<void> {
  const began = performance.now();
  let isReported = false;
  for (let pauseMs = MIN_RETRY_MS; !listener.closed.aborted; pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS)) {
    try {
      checkShared(listener);
      return listener.resume();
    } catch (error) {
      if (!isReported && performance.now() - began > REPORT_MS) {
        isReported = true;
        onFailure(messageOf(error));
      }
      await delay(pauseMs, listener.closed).catch(() => {});
    }
  }
}

/** A process that outlives its program may still accept. @throws Error */
function checkShared(listener: Listener): void {
  if (!isSharedSocket(listener.fd)) return;
  const where = formatListenAddress(listener.address);
  throw new Error(`service "${listener.service}": a process that its program started still listens on ${where}`);
}
