/** Who may connect to a service and what its clients are told, of what it says itself and what `defaults` say. */
import path from "node:path";
import type { Banners, Service } from "../config.ts";
import { readBanner } from "../values/banner-file.ts";
import { UnitError } from "../values/units.ts";
import type { Path, Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import {
  bannerMoments,
  type ParsedAdmission,
  type ParsedBanner,
  type ParsedBanners,
  type ParsedLimits,
} from "./schema-admission.ts";

/** What `defaults` say: their banners are read once for all services. */
export interface AdmissionDefaults {
  readonly parsed: ParsedAdmission;
  readonly banner: Banners;
}

type Admission = Pick<Service, "access" | "limits" | "monitors" | "banner" | "onDeny">;

/** Each key by itself: a list of a service takes the place of that of the defaults. @param source the file's name */
export function resolveAdmission(
  name: string,
  own: ParsedAdmission & { readonly sensor?: unknown },
  defaults: AdmissionDefaults,
  source: string,
  report: Report,
): Admission {
  const place = ["services", name];
  const { allow, deny, times, timezone } = merged(defaults.parsed.access, own.access);
  if (own.access?.timezone !== undefined && times === undefined) {
    const message = `service "${name}": without "times" a time zone has no meaning`;
    report({ path: [...place, "access", "timezone"], message, hint: 'add "times", or remove it' });
  }
  return {
    access: {
      deny: deny ?? [],
      ...(allow !== undefined && { allow }),
      ...(times !== undefined && { times }),
      ...(timezone !== undefined && { timeZone: timezone }),
    },
    limits: resolveLimits(merged(limitsFor(own, defaults.parsed.limits), own.limits)),
    banner: { ...defaults.banner, ...readBanners(own.banner, [...place, "banner"], source, report) },
    monitors: own.monitors ?? defaults.parsed.monitors ?? [],
    onDeny: own.on_deny ?? defaults.parsed.on_deny ?? builtInDefaults.on_deny,
  };
}

/** What is meant for services that do something must not keep a sensor from seeing who comes. */
function limitsFor(own: { readonly sensor?: unknown }, defaults: ParsedLimits = {}): ParsedLimits {
  return own.sensor === undefined ? defaults : { ipv6_prefix: defaults.ipv6_prefix };
}

function resolveLimits(limits: ParsedLimits): Service["limits"] {
  const { connections, per_source, rate, rate_per_source, max_load } = limits;
  return {
    waiting: limits.waiting ?? builtInDefaults.waiting,
    ipv6Prefix: limits.ipv6_prefix ?? builtInDefaults.ipv6_prefix,
    onLimit: limits.on_limit ?? builtInDefaults.on_limit,
    ...(connections !== undefined && { connections }),
    ...(per_source !== undefined && { perSource: per_source }),
    ...(rate !== undefined && { rate }),
    ...(rate_per_source !== undefined && { ratePerSource: rate_per_source }),
    ...(max_load !== undefined && { maxLoad: max_load }),
  };
}

/** Reads what clients are told; a file's name is relative to the folder of the configuration. */
export function readBanners(banners: ParsedBanners = {}, place: Path, source: string, report: Report): Banners {
  const read = bannerMoments.flatMap((moment) => {
    const banner = banners[moment];
    const bytes = banner === undefined ? undefined : bytesOf(banner, [...place, moment], source, report);
    return bytes === undefined ? [] : [[moment, bytes] as const];
  });
  return Object.fromEntries(read);
}

function bytesOf(banner: ParsedBanner, place: Path, source: string, report: Report): Buffer | undefined {
  if (typeof banner === "string") return Buffer.from(banner);
  try {
    return readBanner(path.resolve(path.dirname(source), banner.file));
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    report({ path: [...place, "file"], message: `banner: ${error.message}` });
    return undefined;
  }
}

/** Of two sections, the keys of both; those of the second hold. */
function merged<T extends object>(first: T | undefined, second: T | undefined): Partial<T> {
  const said = Object.entries(second ?? {}).filter(([, value]) => value !== undefined);
  return { ...first, ...Object.fromEntries(said) } as Partial<T>;
}
