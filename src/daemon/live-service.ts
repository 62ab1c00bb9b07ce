import { isDeepStrictEqual } from "node:util";
import type { Activator } from "../activation/activator.ts";
import type { LivePart } from "../admin/api.ts";
import type { Service, ServicePort } from "../config/config.ts";
import { eachPort } from "../config/keys/ports.ts";
import { readIp } from "../net/ip.ts";
import type { Pass } from "../proxy/admission/slots.ts";
import { dataEntranceOf, entranceOf, type Gatehouse, type ServiceEntrance } from "../proxy/admission/stage.ts";
import { besideWaiting, type Traffic } from "../proxy/connection.ts";
import { DataPorts } from "../proxy/data-ports.ts";
import { ToDataPort } from "../proxy/handlers/data-port.ts";
import { type Front, formatFront } from "../proxy/listen/listener.ts";
import type { WantedFront } from "../proxy/listen/listener-pool.ts";
import type { Opening } from "../proxy/routing/route-table.ts";
import type { ServiceGauges } from "../telemetry/metrics.ts";
import type { Observer } from "../telemetry/observer.ts";
import { UdpService } from "../udp/service.ts";
import { destinationsOf, type InetdSurroundings } from "./handler-factory.ts";

export interface LiveServiceOptions {
  readonly service: Service;
  /** Of the service's target; undefined where nothing is woken. */
  readonly activator: Activator | undefined;
  /** Shared with what the service was before its configuration was changed. */
  readonly traffic: Traffic;
  /** What it was before. */
  readonly before: LiveService | undefined;
  /** What the entrances of all services share. */
  readonly gatehouse: Gatehouse;
  readonly observer: Observer;
  readonly around: InetdSurroundings;
  /** Numbers all clients of wakeport. */
  readonly nextId: () => number;
}

/** One service that is listened for: where its fronts lead, what its clients share, what it counts. */
export class LiveService {
  readonly service: Service;
  readonly activator: Activator | undefined;
  readonly traffic: Traffic;
  readonly entrance: ServiceEntrance;
  /** Of a service that has ports for datagrams. */
  readonly udp: UdpService | undefined;
  /** Its TCP fronts, those for data excepted. */
  readonly controlOpenings: readonly Opening[];
  readonly dataOpenings: readonly Opening[];
  /** Of a service that has, or had, any: with all who may use them. */
  readonly dataPorts: DataPorts | undefined;

  constructor(options: LiveServiceOptions) {
    const { service, activator, traffic, before, gatehouse } = options;
    this.service = service;
    this.activator = activator;
    this.traffic = traffic;
    this.entrance = entranceOf(service, gatehouse, before?.entrance);
    const hasData = service.data.length > 0;
    this.dataPorts = before?.dataPorts ?? (hasData ? new DataPorts() : undefined);
    this.controlOpenings = openingsOf(options, this.entrance, hasData ? this.dataPorts : undefined);
    this.dataOpenings = dataOpeningsOf(options, this.dataPorts);
    this.dataPorts?.configure(service.data.flatMap(eachPort).map(frontOf));
    const isAsBefore = before !== undefined && before.activator === activator && sameForUdp(before.service, service);
    this.udp = isAsBefore ? before.udp : newUdp(options, this.entrance);
  }

  /** All its TCP fronts. */
  get openings(): readonly Opening[] {
    return [...this.controlOpenings, ...this.dataOpenings];
  }

  /** Another one is in its place, or none: see Destination.retire. */
  async retire(drainMs: number): Promise<void> {
    const destinations = new Set(this.controlOpenings.map(({ route }) => route.destination));
    await Promise.all([...destinations].map((destination) => destination.retire?.(drainMs)));
  }

  get gauges(): ServiceGauges {
    const { service, activator, traffic, udp } = this;
    return {
      service: service.name,
      view: activator?.view,
      waiting: this.#waiting,
      active: traffic.active,
      meter: traffic.meter,
      udp,
    };
  }

  /** What is told of it besides its configuration. */
  get part(): LivePart {
    const { activator, traffic } = this;
    return { view: activator?.view, connections: traffic.active, waiting: this.#waiting };
  }

  /** For room, or for the target. */
  get #waiting(): number {
    return this.entrance.door.waiting + this.traffic.waiting.taken;
  }
}

/** The TCP fronts that a service has, or would have. */
export function wantedBy(service: Service): WantedFront[] {
  const { name, ports, data } = service;
  const forConnections = [...ports.filter(({ protocol }) => protocol !== "udp"), ...data].flatMap(eachPort);
  return forConnections.map((port) => ({ service: name, front: frontOf(port), isHandedOver: handsOver(service) }));
}

/** Whether the listeners are passed to its program. */
export function handsOver({ target }: Service): boolean {
  return target.kind === "inetd" && target.wait;
}

/** Its fronts at which clients may have to say something before they are led to a service. */
export function frontsThatAsk(service: Service): Front[] {
  const { names, proxyProtocol } = service;
  if (names === undefined && proxyProtocol.receive.length === 0) return [];
  return wantedBy({ ...service, data: [] }).map(({ front }) => front);
}

/** The fronts for datagrams that a service has, or would have. */
export function wantedForUdp(service: Service): { readonly service: string; readonly front: Front }[] {
  return udpPortsOf(service).map((port) => ({ service: service.name, front: frontOf(port) }));
}

function frontOf({ front, address, protocol }: ServicePort): Front {
  return { port: front, ...(address !== undefined && { address }), ...(protocol !== undefined && { protocol }) };
}

function openingsOf(
  options: LiveServiceOptions,
  entrance: ServiceEntrance,
  dataPorts: DataPorts | undefined,
): Opening[] {
  const { service, activator, traffic } = options;
  const destinationOf = destinationsOf(service, activator, { ...options, dataPorts });
  const ports = service.ports.filter(({ protocol }) => protocol !== "udp").flatMap(eachPort);
  return ports.map((port) => {
    const front = frontOf(port);
    const destination = destinationOf(port);
    const route = { service: service.name, front: formatFront(front), entrance, destination, traffic };
    const { names, probes, proxyProtocol } = service;
    return { front, route, names, receive: proxyProtocol.receive, probes };
  });
}

function dataOpeningsOf(options: LiveServiceOptions, dataPorts: DataPorts | undefined): Opening[] {
  const { service, activator, traffic, gatehouse } = options;
  if (dataPorts === undefined || activator === undefined) return [];
  const entrance = dataEntranceOf(service, dataPorts, gatehouse);
  const shared = { service: service.name, entrance, traffic: besideWaiting(traffic) };
  return service.data.flatMap(eachPort).map((port) => {
    const front = frontOf(port);
    const destination = new ToDataPort({ dataPorts, activator, front: port.front });
    // Proxies send headers for control connections alone: no FTP server reads one here.
    return { front, route: { ...shared, front: formatFront(front), destination }, receive: [] };
  });
}

function newUdp(options: LiveServiceOptions, { door }: ServiceEntrance): UdpService | undefined {
  const { service, activator, traffic, observer, nextId } = options;
  const ports = udpPortsOf(service);
  if (ports.length === 0 || activator === undefined) return undefined;
  const admit = (address: string): Pass => door.enterNow(readIp(address));
  const sourceOf = (address: string): string => door.sourceOf(readIp(address));
  return new UdpService({
    route: { service: service.name, activator, traffic, observer, admit, sourceOf },
    ports,
    limits: service.udp,
    nextId,
  });
}

function sameForUdp(before: Service, after: Service): boolean {
  const relevant = (service: Service): unknown => [udpPortsOf(service), service.udp];
  return isDeepStrictEqual(relevant(before), relevant(after));
}

function udpPortsOf({ ports }: Service): ServicePort[] {
  return ports.filter(({ protocol }) => protocol === "udp").flatMap(eachPort);
}
