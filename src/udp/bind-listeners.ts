import { bindAll, type PendingBind } from "../proxy/listen/bind-all.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import { UdpListenerSocket } from "./listener.ts";

export interface UdpPendingBind extends PendingBind {
  readonly listeners: readonly UdpListenerSocket[];
}

/**
 * Binds all addresses, or none. Datagrams are dropped until the sockets get a receiver.
 *
 * @throws BindError with a line for each address that cannot be bound
 */
export async function bindUdpListeners(
  wanted: readonly { readonly service: string; readonly listener: ListenAddress }[],
): Promise<UdpPendingBind> {
  const discard = { onDatagram: () => {}, onUnsent: () => {} };
  const listeners = wanted.map((options) => new UdpListenerSocket({ ...options, ...discard }));
  const close = (): void => {
    for (const listener of listeners) listener.close();
  };
  const pending = await bindAll(
    listeners.map((listener) => listener.open()),
    close,
  );
  return { ...pending, listeners };
}
