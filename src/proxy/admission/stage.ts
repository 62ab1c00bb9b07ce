/** What clients meet before they are served. */
import type net from "node:net";
import os from "node:os";
import type { Banners, Service } from "../../config/config.ts";
import type { DataPorts } from "../data-ports.ts";
import { Door, type DoorSurroundings } from "./admission.ts";
import { Bans } from "./ban-list.ts";
import { DataDoor } from "./data-port-admission.ts";
import { Farewell } from "./lingering-close.ts";
import type { Pass, Slots } from "./slots.ts";

export interface Entrance {
  readonly door: { enter(...client: Parameters<Door["enter"]>): Promise<Pass> };
  readonly banners: Banners;
  /** How the connection of a client ends that is refused. */
  readonly onDeny: "reset" | "close";
  /** Shared by all services. */
  readonly farewell: Farewell;
}

/** The entrance of a service, but for its data ports. */
export interface ServiceEntrance extends Entrance {
  readonly door: Door;
}

/** What the entrances of all services share. */
export interface Gatehouse {
  readonly bans: Bans;
  readonly farewell: Farewell;
  readonly slots: Slots;
  readonly around: DoorSurroundings;
}

/** Of this machine. @param slots places of the whole process */
export function gatehouse(slots: Slots): Gatehouse {
  const around = {
    now: () => performance.now(),
    unixTime: () => Date.now(),
    loadAverage: () => os.loadavg()[0] ?? 0,
  };
  return { bans: new Bans(), farewell: new Farewell(), slots, around };
}

/** @param before what it was before its configuration was changed: the door stays, with all that it has counted */
export function entranceOf(
  service: Service,
  { farewell, ...shared }: Gatehouse,
  before?: ServiceEntrance,
): ServiceEntrance {
  const { access, limits, probes, startTimeoutMs: patienceMs } = service;
  const rules = { access, limits, probes, patienceMs };
  before?.door.configure(rules);
  return {
    door: before?.door ?? new Door({ service: service.name, ...rules, ...shared }),
    banners: service.banner,
    onDeny: service.onDeny,
    farewell,
  };
}

/** The entrance of a service's data ports: nobody speaks there before the target does. */
export function dataEntranceOf(service: Service, dataPorts: DataPorts, gatehouse: Gatehouse): Entrance {
  const { bans, farewell, slots, around } = gatehouse;
  const { access, probes, onDeny } = service;
  const door = new DataDoor({
    service: service.name,
    ipv6Prefix: service.limits.ipv6Prefix,
    access,
    probes,
    dataPorts,
    bans,
    slots,
    unixTime: around.unixTime,
  });
  return { door, banners: {}, onDeny, farewell };
}

/** Resolves when the system has taken all that was written; a socket may then be handed to somebody else. */
export function flushed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.write("", () => resolve());
  });
}
