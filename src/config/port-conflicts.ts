/** Whether two services can share a front. */
import type { Service, ServicePort } from "./config.ts";
import { clashingPort, type PortMapping } from "./values/ports.ts";

/** Why they cannot, and what to do about it. */
export interface Conflict {
  readonly message: string;
  readonly hint: string;
}

/** Who has a port, or several in a row, or would have them. */
export interface PortOwner extends PortMapping {
  /** Undefined: the admin server. */
  readonly service?: Service;
  /** Under which key it is written. */
  readonly key?: PortKey;
}

type PortKey = "ports" | "data";

/** What a service listens on, with the place where that is written. */
export function entriesOf({ ports, data }: Service): { key: PortKey; index: number; port: ServicePort }[] {
  return [
    ...ports.map((port, index) => ({ key: "ports" as const, index, port })),
    ...data.map((port, index) => ({ key: "data" as const, index, port })),
  ];
}

/**
 * Why a service cannot have a port beside those of somebody else, or of its own; undefined when it can: they do not meet,
 * or both are told apart by what their clients say first.
 */
export function conflictOn(wanted: PortOwner & { readonly service: Service }, other: PortOwner): Conflict | undefined {
  const first = clashingPort(wanted, other);
  if (first === undefined) return undefined;
  const [service, owner] = [wanted.service, other.service];
  const number = `${first}${wanted.protocol === "udp" ? "/udp" : ""}`;
  const words = owner === undefined ? "the admin server" : `service "${owner.name}"`;
  const message = `service "${service.name}": port ${number} is taken by ${words} already`;
  const isShareable = wanted.protocol !== "udp" && wanted.key === "ports" && other.key === "ports";
  if (owner === undefined || owner.name === service.name || !isShareable) {
    return { message, hint: "each front port can be bound once" };
  }
  if (service.names === undefined || owner.names === undefined) return { message, hint: namesHint(service, owner) };
  if (wanted.address !== other.address) {
    return { message, hint: "to share it, write it with the same address in both services" };
  }
  return namesConflict(number, service, owner);
}

function namesHint(service: Service, owner: Service): string {
  const named = service.names ?? owner.names;
  if (named === undefined)
    return 'each front port can be bound once; services share one by "host" (HTTP) or "sni" (TLS)';
  const nameless = service.names === undefined ? service : owner;
  return `to share it, give service "${nameless.name}" a "${named.kind}" as well: "*" gets all others`;
}

function namesConflict(number: string, service: Service, owner: Service): Conflict | undefined {
  const both = `services "${owner.name}" and "${service.name}" share port ${number}`;
  if (service.names?.kind !== owner.names?.kind) {
    const message = `${both}, but clients say "${owner.names?.kind}" to one and "${service.names?.kind}" to the other`;
    return { message, hint: "give them different ports: HTTP and TLS begin differently" };
  }
  const taken = service.names?.patterns.find((pattern) => owner.names?.patterns.includes(pattern));
  if (taken !== undefined) {
    const message = `service "${service.name}": the name "${taken}" on port ${number} belongs to service "${owner.name}" already`;
    return { message, hint: "each name leads to one service" };
  }
  if (JSON.stringify(service.proxyProtocol.receive) !== JSON.stringify(owner.proxyProtocol.receive)) {
    const message = `${both}, but differ in whose PROXY headers they believe`;
    return { message, hint: 'give both the same "proxy_protocol: { receive: [...] }": it is read before the name' };
  }
  return undefined;
}
