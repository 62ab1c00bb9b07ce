import { bindErrorOf } from "../errors.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import type { PendingBind } from "../proxy/listen/listener-pool.ts";
import { UdpListenerSocket } from "./listener.ts";

/** Bound UDP sockets. They are closed when this is disposed, unless it was committed. */
export interface UdpPendingBind extends PendingBind {
  readonly listeners: readonly UdpListenerSocket[];
}

/**
 * Binds all addresses, or none. Datagrams are dropped until the sockets get a receiver.
 *
 * @throws BindError with a line for each address that cannot be bound
 */
export async function bindAll(
  wanted: readonly { readonly service: string; readonly listener: ListenAddress }[],
): Promise<UdpPendingBind> {
  const discard = { onDatagram: () => {}, onUnsent: () => {} };
  const listeners = wanted.map((options) => new UdpListenerSocket({ ...options, ...discard }));
  const closeAll = (): void => {
    for (const listener of listeners) listener.close();
  };
  const failure = bindErrorOf(await Promise.allSettled(listeners.map((listener) => listener.open())));
  if (failure !== undefined) {
    closeAll();
    throw failure;
  }
  let isCommitted = false;
  return {
    listeners,
    commit: () => {
      isCommitted = true;
    },
    [Symbol.dispose]: () => {
      if (!isCommitted) closeAll();
    },
  };
}
