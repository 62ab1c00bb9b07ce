import { bindErrorOf } from "../errors.ts";
import type { Front } from "../proxy/listen/listener.ts";
import type { Trial } from "../proxy/listen/listener-pool.ts";
import { UdpFront } from "./listener.ts";

/** Fronts for datagrams that are bound on trial: they are let go of again unless they are kept. */
export interface UdpTrial extends Trial {
  readonly fronts: readonly UdpFront[];
}

/**
 * Binds all, or none. Until somebody leads them elsewhere, what comes there is dropped.
 *
 * @throws BindError with a line for each that cannot be bound
 */
export async function bindOnTrial(
  wanted: readonly { readonly service: string; readonly front: Front }[],
): Promise<UdpTrial> {
  const nowhere = { onDatagram: () => {}, onUnsent: () => {} };
  const fronts = wanted.map((one) => new UdpFront({ ...one, ...nowhere }));
  const release = (): void => {
    for (const front of fronts) front.close();
  };
  const opened = await Promise.allSettled(fronts.map((front) => front.open()));
  const failure = bindErrorOf(opened);
  if (failure !== undefined) {
    release();
    throw failure;
  }
  let isKept = false;
  return {
    fronts,
    keep: () => {
      isKept = true;
    },
    [Symbol.dispose]: () => {
      if (!isKept) release();
    },
  };
}
