import { isDeepStrictEqual } from "node:util";
import type { Activator } from "../activation/activator.ts";
import type { LivePart } from "../admin/api.ts";
import type { Service, ServicePort } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";
import { readIp } from "../net/ip.ts";
import type { Pass } from "../proxy/admission/slots.ts";
import {
  createAdmission,
  createDataPortAdmission,
  type ServiceAdmission,
  type SharedAdmission,
} from "../proxy/admission/stage.ts";
import { DataPorts } from "../proxy/data-ports.ts";
import { DataPortHandler } from "../proxy/handlers/data-port.ts";
import { formatListenAddress, type ListenAddress } from "../proxy/listen/listener.ts";
import type { WantedListener } from "../proxy/listen/listener-pool.ts";
import type { RouteEntry } from "../proxy/routing/route-table.ts";
import { type ServiceConnections, withoutWaitLimit } from "../proxy/service-connections.ts";
import type { ServiceGauges } from "../telemetry/metrics.ts";
import type { Observer } from "../telemetry/observer.ts";
import { UdpService } from "../udp/service.ts";
import { handlersOf, type InetdEnvironment } from "./handler-factory.ts";

export interface LiveServiceOptions {
  readonly service: Service;
  /** Of the service's target; undefined where nothing is woken. */
  readonly activator: Activator | undefined;
  /** Shared with what the service was before its configuration was changed. */
  readonly connections: ServiceConnections;
  /** What it was before. */
  readonly before: LiveService | undefined;
  /** What the entrances of all services share. */
  readonly sharedAdmission: SharedAdmission;
  readonly observer: Observer;
  readonly host: InetdEnvironment;
  /** Numbers all clients of wakeport. */
  readonly nextId: () => number;
}

/** One service that is listened for: where its fronts lead, what its clients share, what it counts. */
export class LiveService {
  readonly service: Service;
  readonly activator: Activator | undefined;
  readonly connections: ServiceConnections;
  readonly admission: ServiceAdmission;
  /** Of a service that has ports for datagrams. */
  readonly udp: UdpService | undefined;
  /** Its TCP fronts, those for data excepted. */
  readonly controlOpenings: readonly RouteEntry[];
  readonly dataOpenings: readonly RouteEntry[];
  /** Of a service that has, or had, any: with all who may use them. */
  readonly dataPorts: DataPorts | undefined;

  constructor(options: LiveServiceOptions) {
    const { service, activator, connections, before, sharedAdmission } = options;
    this.service = service;
    this.activator = activator;
    this.connections = connections;
    this.admission = createAdmission(service, sharedAdmission, before?.admission);
    const hasData = service.data.length > 0;
    this.dataPorts = before?.dataPorts ?? (hasData ? new DataPorts() : undefined);
    this.controlOpenings = routeEntriesOf(options, this.admission, hasData ? this.dataPorts : undefined);
    this.dataOpenings = dataRouteEntriesOf(options, this.dataPorts);
    this.dataPorts?.configure(service.data.flatMap(eachPort).map(listenerName));
    const isAsBefore = before !== undefined && before.activator === activator && sameForUdp(before.service, service);
    this.udp = isAsBefore ? before.udp : newUdp(options, this.admission);
  }

  /** All its TCP fronts. */
  get routeEntries(): readonly RouteEntry[] {
    return [...this.controlOpenings, ...this.dataOpenings];
  }

  /** Another one is in its place, or none: see Destination.retire. */
  async retire(drainMs: number): Promise<void> {
    const destinations = new Set(this.controlOpenings.map(({ route }) => route.handler));
    await Promise.all([...destinations].map((handler) => handler.drain?.(drainMs)));
  }

  get gauges(): ServiceGauges {
    const { service, activator, connections, udp } = this;
    return {
      service: service.name,
      view: activator?.view,
      waiting: this.#waiting,
      active: connections.active,
      meter: connections.meter,
      udp,
    };
  }

  /** What is told of it besides its configuration. */
  get part(): LivePart {
    const { activator, connections } = this;
    return { view: activator?.view, connections: connections.active, waiting: this.#waiting };
  }

  /** For room, or for the target. */
  get #waiting(): number {
    return this.admission.control.waiting + this.connections.waiting.taken;
  }
}

/** The TCP fronts that a service has, or would have. */
export function wantedBy(service: Service): WantedListener[] {
  const { name, ports, data } = service;
  const forConnections = [...ports.filter(({ protocol }) => protocol !== "udp"), ...data].flatMap(eachPort);
  return forConnections.map((port) => ({
    service: name,
    listener: listenerName(port),
    isPausable: handsOver(service),
  }));
}

/** Whether the listeners are passed to its program. */
export function handsOver({ target }: Service): boolean {
  return target.kind === "inetd" && target.wait;
}

/** Its fronts at which clients may have to say something before they are led to a service. */
export function listenersThatRead(service: Service): ListenAddress[] {
  const { names, proxyProtocol } = service;
  if (names === undefined && proxyProtocol.receive.length === 0) return [];
  return wantedBy({ ...service, data: [] }).map(({ listener }) => listener);
}

/** The fronts for datagrams that a service has, or would have. */
export function wantedForUdp(service: Service): { readonly service: string; readonly listener: ListenAddress }[] {
  return udpPortsOf(service).map((port) => ({ service: service.name, listener: listenerName(port) }));
}

function listenerName({ listen: listener, address, protocol }: ServicePort): ListenAddress {
  return { port: listener, ...(address !== undefined && { address }), ...(protocol !== undefined && { protocol }) };
}

function routeEntriesOf(
  options: LiveServiceOptions,
  admission: ServiceAdmission,
  dataPorts: DataPorts | undefined,
): RouteEntry[] {
  const { service, activator, connections } = options;
  const destinationOf = handlersOf(service, activator, { ...options, dataPorts });
  const ports = service.ports.filter(({ protocol }) => protocol !== "udp").flatMap(eachPort);
  return ports.map((port) => {
    const listener = listenerName(port);
    const handler = destinationOf(port);
    const route = { service: service.name, listener: formatListenAddress(listener), admission, handler, connections };
    const { names, monitors, proxyProtocol } = service;
    return { listener, route, names, receive: proxyProtocol.receive, monitors };
  });
}

function dataRouteEntriesOf(options: LiveServiceOptions, dataPorts: DataPorts | undefined): RouteEntry[] {
  const { service, activator, connections, sharedAdmission } = options;
  if (dataPorts === undefined || activator === undefined) return [];
  const admission = createDataPortAdmission(service, dataPorts, sharedAdmission);
  const shared = { service: service.name, admission, connections: withoutWaitLimit(connections) };
  return service.data.flatMap(eachPort).map((port) => {
    const listener = listenerName(port);
    const handler = new DataPortHandler({ dataPorts, activator, listener: port.listen });
    // Proxies send headers for control connections alone: no FTP server reads one here.
    return { listener, route: { ...shared, listener: formatListenAddress(listener), handler }, receive: [] };
  });
}

function newUdp(options: LiveServiceOptions, { control }: ServiceAdmission): UdpService | undefined {
  const { service, activator, connections, observer, nextId } = options;
  const ports = udpPortsOf(service);
  if (ports.length === 0 || activator === undefined) return undefined;
  const admit = (address: string): Pass => control.admitNow(readIp(address));
  const sourceOf = (address: string): string => control.sourceOf(readIp(address));
  return new UdpService({
    route: { service: service.name, activator, connections, observer, admit, sourceOf },
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
