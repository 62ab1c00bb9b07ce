/** An unknown protocol: clients get no bytes while they wait, and are reset if the target cannot serve them. */
import type { HeldClient, Protocol } from "./protocol.ts";

/** A held client that gets no bytes. Other protocols use it for what they do not handle. */
export const silence: HeldClient = {
  ready: () => Promise.resolve(undefined),
  relay: (options) => options.relayer.relay(options),
  rejectionReply: () => Promise.resolve(undefined),
  [Symbol.dispose]: () => {},
};

export const raw: Protocol = { hold: () => silence };
