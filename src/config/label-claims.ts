/** Checks ports and names of a service from labels against docker.labels and the other services. */
import { covers } from "../net/hostname.ts";
import type { Config, Service } from "./config.ts";
import { entriesOf } from "./port-conflicts.ts";
import { clashingPort, formatRange, haveCommonNumber, type PortMapping, type PortRange } from "./values/ports.ts";

type Entry = ReturnType<typeof entriesOf>[number];

/** A service that was accepted before. */
interface Holder {
  readonly service: Service;
  /** Where the service is defined, for messages. */
  readonly source: "wakeport.yaml" | "labels of another project";
}

/**
 * Returns each reason to reject a service from labels, with its label.
 *
 * @param foreignServices accepted services from labels of other projects
 */
export function forbiddenClaims(
  service: Service,
  { services, admin, discover }: Pick<Config, "services" | "admin" | "discover">,
  foreignServices: readonly Service[],
): string[] {
  const { ports = [], names } = discover?.claims ?? {};
  const own = services
    .filter(({ enabled }) => enabled)
    .map((one): Holder => ({ service: one, source: "wakeport.yaml" }));
  const others = foreignServices.map((one): Holder => ({ service: one, source: "labels of another project" }));
  const taken = [
    { port: { listen: admin.port, address: admin.host }, owner: "the admin server" },
    ...[...own, ...others].flatMap(({ service: holder, source }) =>
      entriesOf(holder).map(({ port }) => ({ port, owner: `service "${holder.name}" (${source})` })),
    ),
  ];
  return [
    ...entriesOf(service).flatMap((entry) => [...excludedPort(entry, ports), ...takenNumber(entry, taken)]),
    ...(names === undefined ? [] : excludedName(service, names)),
    ...own.flatMap((holder) => coveredName(service, holder, names ?? [])),
    ...others.flatMap((holder) => coveredName(service, holder, [])),
  ];
}

function excludedPort({ key, port }: Entry, allowed: readonly PortRange[]): string[] {
  const numbers = Array.from({ length: port.count ?? 1 }, (_, index) => port.listen + index);
  const excluded = numbers.find((number) => !allowed.some(({ first, last }) => first <= number && number <= last));
  if (excluded === undefined) return [];
  const ranges = allowed.map(({ first, last }) => formatRange(first, last - first + 1)).join(", ") || "none";
  return [`label wakeport.${key}: port ${excluded} is not in docker.labels.ports (${ranges}): add it there`];
}

/**
 * A client of `localhost`, or of HTTP/3, may use a port number on another address or protocol than the owner does. So a
 * port number belongs to its owner on all addresses and protocols.
 */
function takenNumber(
  { key, port }: Entry,
  taken: readonly { readonly port: PortMapping; readonly owner: string }[],
): string[] {
  const found = taken.find((one) => haveCommonNumber(one.port, port) && clashingPort(one.port, port) === undefined);
  if (found === undefined) return [];
  const number = Math.max(found.port.listen, port.listen);
  const message = `port ${number} belongs to ${found.owner}, on another address or protocol`;
  return [`label wakeport.${key}: ${message}: choose another port`];
}

function excludedName({ names }: Service, allowed: readonly string[]): string[] {
  const excluded = names?.patterns.find((name) => !isAllowed(name, allowed));
  if (names === undefined || excluded === undefined) return [];
  const message = `"${excluded}" is not in docker.labels.names (${allowed.join(", ")})`;
  return [`label wakeport.${names.kind}: ${message}: add it there`];
}

/** Equal names are reported elsewhere, as a conflict between any two services. */
function coveredName(service: Service, { service: holder, source }: Holder, allowed: readonly string[]): string[] {
  const { names } = service;
  if (names === undefined || names.kind !== holder.names?.kind || !sharePort(service, holder)) return [];
  for (const name of names.patterns) {
    const other = holder.names.patterns.find((one) => one !== name && (covers(one, name) || covers(name, one)));
    if (other === undefined || isAllowed(name, allowed)) continue;
    const owner = `"${other}" of service "${holder.name}" (${source})`;
    const remedy = source === "wakeport.yaml" ? "allow it in docker.labels.names" : "choose another name";
    return [
      `label wakeport.${names.kind}: "${name}" ${covers(other, name) ? "is covered by" : "covers"} ${owner}: ${remedy}`,
    ];
  }
  return [];
}

function isAllowed(name: string, allowed: readonly string[]): boolean {
  return allowed.some((one) => covers(one, name));
}

function sharePort(a: Service, b: Service): boolean {
  return a.ports.some((port) => b.ports.some((other) => clashingPort(port, other) !== undefined));
}
