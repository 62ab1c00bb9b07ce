import { isDeepStrictEqual } from "node:util";
import type { Activator } from "../activation/activator.ts";
import type { LiveStatus } from "../admin/api.ts";
import { accessNeeds, clientNeeds } from "../config/client-needs.ts";
import type { Service, ServicePort } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";
import type { DataPlane } from "../dataplane/data-plane.ts";
import type { KernelRoute, ServiceRoute } from "../kernel-route/kernel-route.ts";
import { type Ip, readIp } from "../net/ip.ts";
import {
  createAdmission,
  createDataPortAdmission,
  type ServiceAdmission,
  type SharedAdmission,
} from "../proxy/admission/admission-stage.ts";
import type { Pass } from "../proxy/admission/slots.ts";
import { DataPorts } from "../proxy/data-ports.ts";
import { DataPortHandler } from "../proxy/handlers/data-port.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";
import type { TargetOffload } from "../proxy/offload/target-offload.ts";
import type { RouteEntry } from "../proxy/routing/route-table.ts";
import { type ServiceConnections, withoutWaitLimit } from "../proxy/service-connections.ts";
import type { ServiceGauges } from "../telemetry/metrics.ts";
import type { Observer } from "../telemetry/observer.ts";
import { UdpService } from "../udp/service.ts";
import { handlersOf, type InetdEnvironment, relayerOf } from "./handler-factory.ts";
import { listenAddressOf, tcpPortsOf, udpPortsOf } from "./service-listeners.ts";

export interface LiveServiceOptions {
  readonly service: Service;
  /** Activator of the service's target; undefined if the service wakes no target. */
  readonly activator: Activator | undefined;
  /** Lends the service's listeners to the data plane; undefined if the service wakes no target. */
  readonly offload: TargetOffload | undefined;
  /** Shared with the service before a reload. */
  readonly connections: ServiceConnections;
  /** The service before a reload. */
  readonly before: LiveService | undefined;
  /** Admission that all services share. */
  readonly sharedAdmission: SharedAdmission;
  readonly observer: Observer;
  readonly kernelRoute: KernelRoute;
  readonly host: InetdEnvironment;
  readonly dataPlane: DataPlane;
  /** Returns the number of the next connection or flow. */
  readonly nextId: () => number;
}

/** A running service: the routes of its listeners, its connections and its counters. */
export class LiveService {
  readonly service: Service;
  readonly activator: Activator | undefined;
  readonly connections: ServiceConnections;
  readonly admission: ServiceAdmission;
  /** Undefined without UDP ports. */
  readonly udp: UdpService | undefined;
  /** Routes of its TCP ports except data ports. */
  readonly controlEntries: readonly RouteEntry[];
  /** Routes of its data ports. */
  readonly dataEntries: readonly RouteEntry[];
  /** The data ports and the clients that may use them; undefined if the service never had data ports. */
  readonly dataPorts: DataPorts | undefined;
  readonly #kernelRoute: KernelRoute;

  constructor(options: LiveServiceOptions) {
    const { service, activator, connections, before, sharedAdmission } = options;
    this.service = service;
    this.activator = activator;
    this.connections = connections;
    this.#kernelRoute = options.kernelRoute;
    this.admission = createAdmission(service, sharedAdmission, before?.admission);
    const hasData = service.data.length > 0;
    this.dataPorts = before?.dataPorts ?? (hasData ? new DataPorts() : undefined);
    this.controlEntries = routeEntriesOf(options, this.admission, hasData ? this.dataPorts : undefined);
    this.dataEntries = dataRouteEntriesOf(options, this.dataPorts);
    this.dataPorts?.configure(service.data.flatMap(eachPort).map(listenAddressOf));
    const isSameUdp = before !== undefined && before.activator === activator && sameForUdp(before.service, service);
    this.udp = isSameUdp ? before.udp : newUdp(options, this.admission);
  }

  /** Routes of all its TCP ports. */
  get routeEntries(): readonly RouteEntry[] {
    return [...this.controlEntries, ...this.dataEntries];
  }

  /** Drains its handlers after it was replaced or removed. */
  async retire(drainMs: number): Promise<void> {
    const handlers = new Set(this.controlEntries.map(({ route }) => route.handler));
    await Promise.all([...handlers].map((handler) => handler.drain?.(drainMs)));
  }

  get gauges(): ServiceGauges {
    const { service, activator, connections, udp } = this;
    const { meter } = connections;
    const route = this.#route;
    const { up = 0, down = 0 } = route?.counters ?? {};
    return {
      service: service.name,
      view: activator?.view,
      waiting: this.#waiting,
      active: connections.active + (route?.flows ?? 0),
      meter: { in: meter.in + up, out: meter.out + down },
      udp,
    };
  }

  /** Its part of the status report. */
  get status(): LiveStatus {
    const { activator, connections } = this;
    const route = this.#route;
    const active = connections.active + (route?.flows ?? 0);
    return { view: activator?.view, connections: active, waiting: this.#waiting, ...(route && { route }) };
  }

  get #route(): ServiceRoute | undefined {
    return this.#kernelRoute.routeOf(this.service);
  }

  /** Number of clients that wait for a slot or for the target. */
  get #waiting(): number {
    return this.admission.control.waiting + this.connections.waiting.taken;
  }
}

function routeEntriesOf(
  options: LiveServiceOptions,
  admission: ServiceAdmission,
  dataPorts: DataPorts | undefined,
): RouteEntry[] {
  const { service, activator, connections } = options;
  const handlerOf = handlersOf(service, activator, { ...options, dataPorts });
  return tcpPortsOf(service).map((port) => {
    const listener = listenAddressOf(port);
    const handler = handlerOf(port);
    const route = { service: service.name, listener: formatListenAddress(listener), admission, handler, connections };
    const { names, monitors, proxyProtocol } = service;
    const offload = offloadOf(options, admission, port);
    return { listener, route, names, receive: proxyProtocol.receive, monitors, offload };
  });
}

/** Returns undefined if wakeport must see each client of the service. */
function offloadOf(
  { service, offload, connections, observer, nextId }: LiveServiceOptions,
  { control }: ServiceAdmission,
  port: ServicePort,
): RouteEntry["offload"] {
  const needs = [...accessNeeds(service), ...clientNeeds(service)];
  if (offload === undefined || service.relay === "node" || needs.length > 0) return undefined;
  const offloadPort = {
    service: service.name,
    listener: formatListenAddress(listenAddressOf(port)),
    targetPort: port.target,
    maxDials: service.releasePace,
    connections,
    observer,
    nextId,
    count: (ip: Ip | undefined) => control.count(ip),
  };
  return (loan) => offload.add(offloadPort, loan);
}

function dataRouteEntriesOf(options: LiveServiceOptions, dataPorts: DataPorts | undefined): RouteEntry[] {
  const { service, activator, connections, sharedAdmission, dataPlane } = options;
  if (dataPorts === undefined || activator === undefined) return [];
  const admission = createDataPortAdmission(service, dataPorts, sharedAdmission);
  const shared = { service: service.name, admission, connections: withoutWaitLimit(connections) };
  const relayer = relayerOf(service, dataPlane);
  return service.data.flatMap(eachPort).map((port) => {
    const listener = listenAddressOf(port);
    const handler = new DataPortHandler({ dataPorts, activator, relayer, listener: port.listen });
    // FTP servers read PROXY headers only on control connections.
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
