/** An admission stage for tests, which admits all clients by default. */
import type { Banners } from "../../../src/config/config.ts";
import { Admission, type AdmissionOptions } from "../../../src/proxy/admission/admission.ts";
import type { AdmissionStage } from "../../../src/proxy/admission/admission-stage.ts";
import { BanList } from "../../../src/proxy/admission/ban-list.ts";
import { LingeringClose } from "../../../src/proxy/admission/lingering-close.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";

export interface AdmissionStageOptions {
  readonly slots?: Slots;
  readonly bans?: BanList;
  readonly access?: Partial<AdmissionOptions["access"]>;
  readonly limits?: Partial<AdmissionOptions["limits"]>;
  readonly queueTimeoutMs?: number;
  readonly loadAverage?: () => number;
  readonly monitors?: AdmissionOptions["monitors"];
  readonly banners?: Banners;
  readonly onDeny?: "reset" | "close";
}

export function openAdmission(options: AdmissionStageOptions = {}): AdmissionStage {
  const { banners = {}, onDeny = "reset", queueTimeoutMs = 30_000, loadAverage = () => 0 } = options;
  const control = new Admission({
    service: "web",
    access: { deny: [], ...options.access },
    limits: { ipv6Prefix: 64, waiting: 100, onLimit: "reject", ...options.limits },
    queueTimeoutMs,
    ...(options.monitors !== undefined && { monitors: options.monitors }),
    bans: options.bans ?? new BanList(),
    slots: options.slots ?? new Slots({ limit: 100, what: "connections in total", reason: "process_limit" }),
    clock: { now: () => performance.now(), unixTime: () => Date.now(), loadAverage },
  });
  return { control, banners, onDeny, lingering: new LingeringClose() };
}
