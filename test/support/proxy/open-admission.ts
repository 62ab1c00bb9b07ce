/** An entrance for tests: everybody is let in, unless the test says otherwise. */
import type { Banners } from "../../../src/config/config.ts";
import { Door, type DoorOptions } from "../../../src/proxy/admission/admission.ts";
import { Bans } from "../../../src/proxy/admission/ban-list.ts";
import { Farewell } from "../../../src/proxy/admission/lingering-close.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import type { Entrance } from "../../../src/proxy/admission/stage.ts";

export interface EntranceOptions {
  readonly slots?: Slots;
  readonly bans?: Bans;
  readonly access?: Partial<DoorOptions["access"]>;
  readonly limits?: Partial<DoorOptions["limits"]>;
  readonly patienceMs?: number;
  readonly loadAverage?: () => number;
  readonly probes?: DoorOptions["probes"];
  readonly banners?: Banners;
  readonly onDeny?: "reset" | "close";
}

export function openEntrance(options: EntranceOptions = {}): Entrance {
  const { banners = {}, onDeny = "reset", patienceMs = 30_000, loadAverage = () => 0 } = options;
  const door = new Door({
    service: "web",
    access: { deny: [], ...options.access },
    limits: { ipv6Prefix: 64, waiting: 100, onLimit: "reject", ...options.limits },
    patienceMs,
    ...(options.probes !== undefined && { probes: options.probes }),
    bans: options.bans ?? new Bans(),
    slots: options.slots ?? new Slots({ limit: 100, what: "connections in all", reason: "process_limit" }),
    around: { now: () => performance.now(), unixTime: () => Date.now(), loadAverage },
  });
  return { door, banners, onDeny, farewell: new Farewell() };
}
