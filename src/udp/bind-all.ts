import { bindErrorOf } from "../errors.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import type { PendingBind } from "../proxy/listen/listener-pool.ts";
import { UdpListenerSocket } from "./listener.ts";

/** Fronts for datagrams that are bound on trial: they are let go of again unless they are kept. */
export interface UdpPendingBind extends PendingBind {
  readonly listeners: readonly UdpListenerSocket[];
}

/**
 * Binds all, or none. Until somebody leads them elsewhere, what comes there is dropped.
 *
 * @throws BindError with a line for each that cannot be bound
 */
export async function bindAll(
  wanted: readonly { readonly service: string; readonly listener: ListenAddress }[],
): Promise<UdpPendingBind> {
  const nowhere = { onDatagram: () => {}, onUnsent: () => {} };
  const listeners = wanted.map((one) => new UdpListenerSocket({ ...one, ...nowhere }));
  const release = (): void => {
    for (const listener of listeners) listener.close();
  };
  const opened = await Promise.allSettled(listeners.map((listener) => listener.open()));
  const failure = bindErrorOf(opened);
  if (failure !== undefined) {
    release();
    throw failure;
  }
  let isKept = false;
  return {
    listeners,
    commit: () => {
      isKept = true;
    },
    [Symbol.dispose]: () => {
      if (!isKept) release();
    },
  };
}
