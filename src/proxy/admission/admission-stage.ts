/** What decides about a client before it is served: admission, banners, and the close of rejected clients. */
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
  /** How the connection of a denied client ends. */
  readonly onDeny: "reset" | "close";
  /** Shared by all services. */
  readonly lingering: LingeringClose;
}

/** The stage of a service's listeners, except its data ports. */
export interface ServiceAdmission extends AdmissionStage {
  readonly control: Admission;
}

/** Shared by the stages of all services. */
export interface SharedAdmission {
  readonly bans: BanList;
  readonly lingering: LingeringClose;
  readonly slots: Slots;
  readonly clock: AdmissionContext;
}

/** @param slots of the process */
export function sharedAdmission(slots: Slots): SharedAdmission {
  const clock = {
    now: () => performance.now(),
    unixTime: () => Date.now(),
    loadAverage: () => os.loadavg()[0] ?? 0,
  };
  return { bans: new BanList(), lingering: new LingeringClose(), slots, clock };
}

/** @param before the stage before a reload: its `Admission` stays, with all counts */
export function createAdmission(
  service: Service,
  { lingering, ...shared }: SharedAdmission,
  before?: ServiceAdmission,
): ServiceAdmission {
  const { access, limits, monitors, startTimeoutMs: queueTimeoutMs } = service;
  const rules = { access, limits, monitors, queueTimeoutMs };
  before?.control.configure(rules);
  return {
    control: before?.control ?? new Admission({ service: service.name, ...rules, ...shared }),
    banners: service.banner,
    onDeny: service.onDeny,
    lingering,
  };
}

/** Creates the stage of a service's data ports. They have no banners, because the server sends the first byte. */
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
