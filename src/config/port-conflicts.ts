/** Checks whether two services can share a listen port. */
import type { Service, ServicePort } from "./config.ts";
import { clashingPort, type PortMapping } from "./values/ports.ts";

/** The reason for a conflict, and a remedy. */
export interface Conflict {
  readonly message: string;
  readonly hint: string;
}

/** A port or range with its service. */
export interface PortOwner extends PortMapping {
  /** Absent: the admin server. */
  readonly service?: Service;
  /** The key that contains the port. */
  readonly key?: PortKey;
}

type PortKey = "ports" | "data";

/** Returns the listen ports of a service, each with its place in the file. */
export function entriesOf({ ports, data }: Service): { key: PortKey; index: number; port: ServicePort }[] {
  return [
    ...ports.map((port, index) => ({ key: "ports" as const, index, port })),
    ...data.map((port, index) => ({ key: "data" as const, index, port })),
  ];
}

/**
 * Returns why two ports exclude each other, or undefined. Ports that overlap are allowed if the names of their clients
 * differ.
 */
export function conflictOn(wanted: PortOwner & { readonly service: Service }, other: PortOwner): Conflict | undefined {
  const first = clashingPort(wanted, other);
  if (first === undefined) return undefined;
  const [service, owner] = [wanted.service, other.service];
  const number = `${first}${wanted.protocol === "udp" ? "/udp" : ""}`;
  const holder = owner === undefined ? "the admin server" : `service "${owner.name}"`;
  const message = `service "${service.name}": port ${number} is already in use by ${holder}`;
  const isShareable = wanted.protocol !== "udp" && wanted.key === "ports" && other.key === "ports";
  if (owner === undefined || owner.name === service.name || !isShareable) {
    return { message, hint: "each port can be bound once" };
  }
  if (service.names === undefined || owner.names === undefined) return { message, hint: namesHint(service, owner) };
  if (wanted.address !== other.address) {
    return { message, hint: "to share the port, write it with the same address in both services" };
  }
  return namesConflict(number, service, owner);
}

function namesHint(service: Service, owner: Service): string {
  const named = service.names ?? owner.names;
  if (named === undefined) return 'each port can be bound once; services can share it by "host" (HTTP) or "sni" (TLS)';
  const unnamed = service.names === undefined ? service : owner;
  return `to share the port, give service "${unnamed.name}" a "${named.kind}" as well: "*" matches all other names`;
}

function namesConflict(number: string, service: Service, owner: Service): Conflict | undefined {
  const both = `services "${owner.name}" and "${service.name}" share port ${number}`;
  if (service.names?.kind !== owner.names?.kind) {
    const message = `${both}, but one has "${owner.names?.kind}" and the other "${service.names?.kind}"`;
    return { message, hint: "give them different ports: one is for HTTP and the other for TLS" };
  }
  const taken = service.names?.patterns.find((pattern) => owner.names?.patterns.includes(pattern));
  if (taken !== undefined) {
    const message = `service "${service.name}": name "${taken}" on port ${number} already belongs to service "${owner.name}"`;
    return { message, hint: "use each name in one service only" };
  }
  if (JSON.stringify(service.proxyProtocol.receive) !== JSON.stringify(owner.proxyProtocol.receive)) {
    const message = `${both}, but accept PROXY headers from different networks`;
    return {
      message,
      hint: 'give both the same "proxy_protocol: { receive: [...] }": the header is read before the name',
    };
  }
  return undefined;
}
