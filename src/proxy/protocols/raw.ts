/** What is not known: its clients are held in silence, and reset when the target cannot serve them. */
import { relay } from "../../net/relay.ts";
import type { HeldClient, Protocol } from "./protocol.ts";

/** Also of use as what a protocol does that knows nothing better. */
export const silence: HeldClient = {
  ready: () => Promise.resolve(undefined),
  relay,
  refuse: () => Promise.resolve(undefined),
  [Symbol.dispose]: () => {},
};

export const raw: Protocol = { hold: () => silence };
