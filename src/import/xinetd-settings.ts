/** Which attributes xinetd knows, and what a service has of its own and of the defaults. */
import { suggest } from "../config/yaml/suggest.ts";
import type { Place, Warning } from "./draft.ts";
import type { Attribute, XinetdEntry } from "./xinetd-entries.ts";

/** How many values an attribute takes: exactly so many, any number, or any number with "+=" and "-=" as well. */
type Arity = number | "any" | "set";

const serviceArity: Readonly<Record<string, Arity>> = {
  id: 1,
  type: "any",
  flags: "any",
  disable: 1,
  socket_type: 1,
  protocol: 1,
  wait: 1,
  user: 1,
  group: 1,
  groups: 1,
  umask: 1,
  nice: 1,
  rlimit_as: 1,
  rlimit_cpu: 1,
  rlimit_data: 1,
  rlimit_rss: 1,
  rlimit_stack: 1,
  rlimit_files: 1,
  server: 1,
  server_args: "any",
  env: "set",
  passenv: "set",
  port: 1,
  bind: 1,
  interface: 1,
  redirect: 2,
  banner: 1,
  banner_success: 1,
  banner_fail: 1,
  instances: 1,
  per_source: 1,
  cps: 2,
  max_load: 1,
  access_times: "any",
  only_from: "set",
  no_access: "set",
  libwrap: 1,
  deny_time: 1,
  log_type: "any",
  log_on_success: "set",
  log_on_failure: "set",
  rpc_version: 1,
  rpc_number: 1,
  mdns: 1,
  v6only: 1,
};

const defaultsArity: Readonly<Record<string, Arity>> = {
  ...Object.fromEntries(
    [
      ...["instances", "banner", "bind", "interface", "per_source", "groups", "banner_success", "banner_fail", "cps"],
      ...["max_load", "v6only", "umask"],
    ].map((name) => [name, serviceArity[name] ?? 1]),
  ),
  ...Object.fromEntries(
    [
      ...["log_type", "log_on_success", "log_on_failure", "disabled", "enabled", "no_access", "only_from", "passenv"],
    ].map((name) => [name, "set" as const]),
  ),
};

/** All attributes of xinetd.conf. */
export const attributeNames: ReadonlySet<string> = new Set([
  ...Object.keys(serviceArity),
  ...Object.keys(defaultsArity),
]);

/** What of the defaults a service gets when its entry begins, and so only of defaults that stand before it. */
const EARLY = [
  "log_on_success",
  "log_on_failure",
  "only_from",
  "no_access",
  "passenv",
  "banner",
  "banner_success",
  "banner_fail",
];
/** What of the defaults it gets in the end. */
const LATE = [
  "instances",
  "umask",
  "per_source",
  "groups",
  "cps",
  "max_load",
  "bind",
  "v6only",
  "log_type",
  "log_on_success",
  "log_on_failure",
];

/** See `settle`. */
export type Split = (attribute: string, text: string) => readonly { readonly text: string; readonly key: string }[];

/** A value of an attribute that holds several, with the line it is from. */
export interface Part {
  readonly text: string;
  readonly place: Place;
}

/** An attribute in force. */
export interface Setting {
  readonly parts: readonly Part[];
  /** Every line that had to do with it. */
  readonly places: readonly Place[];
}

export type Settings = ReadonlyMap<string, Setting>;

export interface XinetdService {
  readonly name: string;
  readonly place: Place;
  readonly settings: Settings;
  readonly lines: readonly string[];
  readonly warnings: readonly Warning[];
  /** For which xinetd disables the service. */
  readonly reasons: readonly Warning[];
  readonly fault?: Warning;
}

/**
 * Puts services and defaults together.
 *
 * @param split makes of one value those that `-=` can take away, each with a key that tells it from others
 */
export function settle(
  entries: readonly XinetdEntry[],
  split: Split,
): { services: readonly XinetdService[]; defaults: Settings; warnings: readonly Warning[] } {
  const warnings: Warning[] = [];
  const defaults = new Map<string, Setting>();
  let hasDefaults = false;
  const services: (XinetdService & { settings: Map<string, Setting> })[] = [];
  for (const { kind, name, place, attributes, lines, fault } of entries) {
    if (kind === "service") {
      const early = EARLY.flatMap((key): [string, Setting][] => {
        const setting = defaults.get(key);
        return setting === undefined ? [] : [[key, setting]];
      });
      const settings = new Map(early);
      const own: Warning[] = [];
      const reasons: Warning[] = [];
      apply(settings, attributes, serviceArity, {
        split,
        report: (warning, isReason) => (isReason ? reasons : own).push(warning),
        isDefaults: false,
      });
      services.push({ name, place, settings, lines, warnings: own, reasons, ...(fault && { fault }) });
      continue;
    }
    if (fault !== undefined) warnings.push(fault);
    else if (hasDefaults) warnings.push({ place, message: "a second defaults entry: xinetd reads only the first" });
    else apply(defaults, attributes, defaultsArity, { split, report: (one) => warnings.push(one), isDefaults: true });
    hasDefaults ||= fault === undefined;
  }
  for (const { settings } of services) {
    for (const key of LATE) {
      const setting = defaults.get(key);
      if (setting !== undefined && !settings.has(key)) settings.set(key, setting);
    }
  }
  return { services, defaults, warnings };
}

interface Rules {
  readonly split: Split;
  /** @param isReason whether xinetd disables the service for it */
  readonly report: (warning: Warning, isReason?: boolean) => void;
  readonly isDefaults: boolean;
}

function apply(
  settings: Map<string, Setting>,
  attributes: readonly Attribute[],
  known: Readonly<Record<string, Arity>>,
  rules: Rules,
): void {
  const own = new Set<string>();
  for (const { name: written, operator, values, place } of attributes) {
    const warn = (message: string): void => rules.report({ place, message });
    const arity = Object.hasOwn(known, written) ? known[written] : undefined;
    // Synonyms.
    const name = written === "interface" ? "bind" : written;
    const parts = values.map((text) => ({ text, place }));
    const before = settings.get(name);
    if (arity === undefined) warn(unknownAttribute(written, known, rules.isDefaults));
    else if (arity === "set") settings.set(name, combine(name, before, operator, { parts, place }, rules));
    else if (own.has(name)) warn(`"${written}" is set already: xinetd keeps the first value`);
    else if (operator !== "=") warn(`"${written}" does not know "${operator}": xinetd leaves the line out`);
    else if (arity !== "any" && values.length !== arity) {
      const words = arity === 1 ? "one value" : `${arity} values`;
      warn(`"${written}" takes ${words}, not ${values.length}: xinetd leaves the line out`);
    } else {
      own.add(name);
      settings.set(name, { parts, places: [place] });
    }
  }
}

function combine(
  name: string,
  before: Setting | undefined,
  operator: Attribute["operator"],
  { parts: words, place }: { parts: readonly Part[]; place: Place },
  { split, isDefaults, report }: Rules,
): Setting {
  const parts = words.flatMap(({ text }) => split(name, text).map((one) => ({ text: one.text, place })));
  const places = [...(before?.places ?? []), place];
  if (operator === "=" && !isDefaults) return { parts, places: [place] };
  if (operator !== "-=") return { parts: [...(before?.parts ?? []), ...parts], places };
  if (name === "env") {
    report({ place, message: '"env" does not know "-=", for which xinetd disables the service' }, true);
    return { parts: before?.parts ?? [], places };
  }
  const keyOf = ({ text }: Part): string => split(name, text)[0]?.key ?? text;
  const removed = new Set(parts.map(keyOf));
  return { parts: (before?.parts ?? []).filter((part) => !removed.has(keyOf(part))), places };
}

function unknownAttribute(name: string, known: Readonly<Record<string, Arity>>, isDefaults: boolean): string {
  if (isDefaults && Object.hasOwn(serviceArity, name)) {
    return `"${name}" may not stand in the defaults: xinetd leaves the line out`;
  }
  if (!isDefaults && Object.hasOwn(defaultsArity, name)) {
    return `"${name}" may stand only in the defaults: xinetd leaves the line out`;
  }
  const near = suggest(name, Object.keys(known));
  const hint = near === undefined ? "" : ` (was "${near}" meant?)`;
  return `unknown attribute "${name}"${hint}: xinetd leaves the line out`;
}
