/** The listeners that a service needs. */
import type { Service, ServicePort } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import type { WantedListener } from "../proxy/listen/listener-pool.ts";

/** Returns the TCP listeners, including data ports. */
export function tcpListenersOf(service: Service): WantedListener[] {
  const ports = [...tcpPortsOf(service), ...service.data.flatMap(eachPort)];
  return ports.map((port) => ({ service: service.name, listener: listenAddressOf(port) }));
}

export function udpListenersOf(service: Service): { readonly service: string; readonly listener: ListenAddress }[] {
  return udpPortsOf(service).map((port) => ({ service: service.name, listener: listenAddressOf(port) }));
}

/** Returns the listeners that may read from a client before they route it: for host names or PROXY headers. */
export function listenersThatRead(service: Service): ListenAddress[] {
  const { names, proxyProtocol } = service;
  if (names === undefined && proxyProtocol.receive.length === 0) return [];
  return tcpPortsOf(service).map(listenAddressOf);
}

/** Returns the TCP ports except data ports. */
export function tcpPortsOf({ ports }: Service): ServicePort[] {
  return ports.filter(({ protocol }) => protocol !== "udp").flatMap(eachPort);
}

export function udpPortsOf({ ports }: Service): ServicePort[] {
  return ports.filter(({ protocol }) => protocol === "udp").flatMap(eachPort);
}

export function listenAddressOf({ listen: port, address, protocol }: ServicePort): ListenAddress {
  return { port, ...(address !== undefined && { address }), ...(protocol !== undefined && { protocol }) };
}
