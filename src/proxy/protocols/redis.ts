/**
 * Redis: held in silence, or with `hold: loading` answered as by a server that loads its data. When it was in vain, a client
 * that has sent a command gets an error for it; from one that has not, nothing is awaited that could be answered.
 */
import type { HoldSpec } from "../../config/config.ts";
import { peek } from "../../net/peek.ts";
import { notAvailable } from "./messages.ts";
import type { HeldClient, Protocol, WaitingClient } from "./protocol.ts";
import { silence } from "./raw.ts";
import { answerLoading } from "./redis-loading.ts";

/** How long a client may take to send its first command that came when its target could not be had. */
const COMMAND_MS = 1_000;
/** The first byte of a TLS record with a handshake, which no command begins with. */
const TLS_HANDSHAKE = 0x16;

export function redis({ kind }: HoldSpec): Protocol {
  return {
    hold: (waitingClient) =>
      kind === "loading" ? answered(waitingClient) : { ...silence, refuse: () => refusal(waitingClient) },
  };
}

function answered(waitingClient: WaitingClient): HeldClient {
  const over = new AbortController();
  const isUp = waitingClient.progress.state === "ready";
  const signal = AbortSignal.any([waitingClient.signal, over.signal]);
  const answering = isUp ? Promise.resolve() : answerLoading(waitingClient, signal).catch(() => {});
  return {
    ...silence,
    async ready() {
      over.abort();
      await answering;
      waitingClient.signal.throwIfAborted();
      return undefined;
    },
    refuse: () => refusal(waitingClient),
    [Symbol.dispose]: () => over.abort(),
  };
}

async function refusal({ socket, signal, progress }: WaitingClient): Promise<Buffer | undefined> {
  const read = ([first]: Buffer): { value: number | undefined; used: number } => ({ value: first, used: 0 });
  try {
    const first = await peek(socket, { read, most: 1, deadlineMs: COMMAND_MS, signal });
    if (first === TLS_HANDSHAKE) return undefined;
    return Buffer.from(`-ERR ${notAvailable(progress.service)}\r\n`);
  } catch {
    return Buffer.alloc(0);
  }
}
