/** What clients meet before they are served. */
import type net from "node:net";
import os from "node:os";
import type { Banners, Service } from "../../config/config.ts";
import type { DataPorts } from "../data-ports.ts";
import { Admission, type AdmissionContext } from "./admission.ts";
import { BanList } from "./ban-list.ts";
import { DataPortAdmission } from "./data-port-admission.ts";
import { LingeringClose } from "./lingering-close.ts";
import type { Pass, Slots } from "./slots.ts";

export interface AdmissionStage {
  readonly control: { admit(...client: Parameters<Admission["admit"]>): Promise<Pass> };
  readonly banners: Banners;
  /** How the connection of a client ends that is refused. */
  readonly onDeny: "reset" | "close";
  /** Shared by all services. */
  readonly lingering: LingeringClose;
}

/** The entrance of a service, but for its data ports. */
export interface ServiceAdmission extends AdmissionStage {
  readonly control: Admission;
}

/** What the entrances of all services share. */
export interface SharedAdmission {
  readonly bans: BanList;
  readonly lingering: LingeringClose;
  readonly slots: Slots;
  readonly clock: AdmissionContext;
}

/** Of this machine. @param slots places of the whole process */
export function sharedAdmission(slots: Slots): SharedAdmission {
  const clock = {
    now: () => performance.now(),
    unixTime: () => Date.now(),
    loadAverage: () => os.loadavg()[0] ?? 0,
  };
  return { bans: new BanList(), lingering: new LingeringClose(), slots, clock };
}

/** @param before what it was before its configuration was changed: the door stays, with all that it has counted */
export function createAdmission(
  service: Service,
  { lingering, ...shared }: SharedAdmission,
  before?: ServiceAdmission,
): ServiceAdmission {
  const { access, limits, monitors, startTimeoutMs: patienceMs } = service;
  const rules = { access, limits, monitors, patienceMs };
  before?.control.configure(rules);
  return {
    control: before?.control ?? new Admission({ service: service.name, ...rules, ...shared }),
    banners: service.banner,
    onDeny: service.onDeny,
    lingering,
  };
}

/** The entrance of a service's data ports: nobody speaks there before the target does. */
export function createDataPortAdmission(
  service: Service,
  dataPorts: DataPorts,
  sharedAdmission: SharedAdmission,
): AdmissionStage {
  const { bans, lingering, slots, clock } = sharedAdmission;
  const { access, monitors, onDeny } = service;
  const control = new DataPortAdmission({
    service: service.name,
    ipv6Prefix: service.limits.ipv6Prefix,
    access,
    monitors,
    dataPorts,
    bans,
    slots,
    unixTime: clock.unixTime,
  });
  return { control, banners: {}, onDeny, lingering };
}

/** Resolves when the system has taken all that was written; a socket may then be handed to somebody else. */
export function flushed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.write("", () => resolve());
  });
}
