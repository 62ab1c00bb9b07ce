/** The attributes of xinetd.conf, and how a service's own attributes and the defaults are merged. */
import { suggest } from "../config/yaml/suggest.ts";
import type { Place, Warning } from "./draft.ts";
import { ADDRESS_WORDS, splitAddress } from "./xinetd-addresses.ts";
import type { Attribute, Operator, XinetdEntry } from "./xinetd-parser.ts";

interface Rule {
  /** The number of values. A "set" can be changed with "+=" and "-=" and given several times. */
  readonly arity: number | "any" | "set";
  /** Values, joined by blanks, that do not match make xinetd disable the service. */
  readonly valid?: RegExp;
}

const listOf = (words: string, quantifier: "+" | "*"): RegExp =>
  new RegExp(`^((${words.replaceAll(" ", "|")})( |$))${quantifier}$`);

const rules = (names: string, rule: Rule): Readonly<Record<string, Rule>> =>
  Object.fromEntries(names.split(" ").map((name) => [name, rule]));

const FLAGS = "REUSE INTERCEPT NORETRY IDONLY NAMEINARGS NODELAY KEEPALIVE NOLIBWRAP SENSOR IPv4 IPv6 LABELED";

const serviceRules: Readonly<Record<string, Rule>> = {
  ...rules("id socket_type protocol user group server port bind interface", { arity: 1 }),
  ...rules("banner banner_success banner_fail libwrap rpc_version rpc_number mdns", { arity: 1 }),
  ...rules("disable wait groups v6only", { arity: 1, valid: /^(yes|no)$/ }),
  ...rules("rlimit_as rlimit_data rlimit_rss rlimit_stack rlimit_files", {
    arity: 1,
    valid: /^(UNLIMITED|\d{1,15}[kKmM]?)$/,
  }),
  ...rules("instances per_source", { arity: 1, valid: /^(UNLIMITED|\+?\d{1,15})$/ }),
  ...rules("only_from no_access", { arity: "set", valid: ADDRESS_WORDS }),
  type: { arity: "any", valid: listOf("RPC INTERNAL UNLISTED SPECIAL TCPMUX TCPMUXPLUS", "+") },
  flags: { arity: "any", valid: listOf(FLAGS, "+") },
  umask: { arity: 1, valid: /^0*[0-7]{1,3}$/ },
  nice: { arity: 1, valid: /^[+-]?\d{1,15}$/ },
  rlimit_cpu: { arity: 1, valid: /^(UNLIMITED|\d{1,15})$/ },
  server_args: { arity: "any", valid: /./ },
  env: { arity: "set", valid: /^([^ =]*=[^ ]*( |$))*$/ },
  passenv: { arity: "set" },
  redirect: { arity: 2 },
  cps: { arity: 2, valid: /^\+?\d{1,15} \+?\d{1,15}$/ },
  max_load: { arity: 1, valid: /^\+?(?=[\d.]*[1-9])(\d|\.\d)/ },
  access_times: { arity: "any", valid: /^(\d{1,2}:\d{1,2}-\d{1,2}:\d{1,2}( |$))+$/ },
  deny_time: { arity: 1, valid: /^(FOREVER|NEVER|[+-]?\d{1,15})$/ },
  log_type: { arity: "any", valid: /^(SYSLOG \S+( \S+)?|FILE \S+( \d+[kKmM]?){0,2})$/ },
  log_on_success: { arity: "set", valid: listOf("PID HOST USERID EXIT DURATION TRAFFIC", "*") },
  log_on_failure: { arity: "set", valid: listOf("HOST USERID ATTEMPT", "*") },
};

/** Lists of the defaults. A service gets them when its entry begins, and so only from defaults that stand before it. */
const EARLY = ["only_from", "no_access", "passenv", "log_on_success", "log_on_failure"];
/** The banners also come from defaults that stand before the service. */
const EARLY_SINGLE = ["banner", "banner_success", "banner_fail"];
/** Attributes of the defaults that a service without an own value gets after all files are read. */
const LATE = ["instances", "umask", "per_source", "groups", "cps", "max_load", "bind", "v6only"];

const defaultsRules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    Object.entries(serviceRules).filter(([name]) => [...EARLY_SINGLE, ...LATE, "interface"].includes(name)),
  ),
  ...rules([...EARLY, "log_type", "disabled", "enabled"].join(" "), { arity: "set" }),
};

/** All attributes of xinetd.conf. */
export const attributeNames: ReadonlySet<string> = new Set([
  ...Object.keys(serviceRules),
  ...Object.keys(defaultsRules),
]);

/** A value with its line. */
export interface Part {
  readonly text: string;
  readonly place: Place;
}

/** The value of an attribute. */
export interface Setting {
  readonly parts: readonly Part[];
  /** Every line that contributed to the value. */
  readonly places: readonly Place[];
}

export type Settings = ReadonlyMap<string, Setting>;

/** xinetd disables a service with such a mistake. */
export interface Mistake extends Warning {
  readonly isFatal?: boolean;
}

export interface XinetdService extends Pick<XinetdEntry, "name" | "place" | "lines" | "fault"> {
  readonly settings: Settings;
  readonly mistakes: readonly Mistake[];
}

export interface Merged {
  readonly services: readonly XinetdService[];
  readonly defaults: Settings;
  readonly warnings: readonly Warning[];
}

/** Merges services and defaults. Attributes with invalid values are removed and reported. */
export function mergeEntries(entries: readonly XinetdEntry[]): Merged {
  const warnings: Warning[] = [];
  let defaults: Map<string, Setting> | undefined;
  const services: (XinetdService & { settings: Map<string, Setting>; mistakes: Mistake[] })[] = [];
  for (const entry of entries) {
    if (entry.kind === "service") {
      const mistakes: Mistake[] = [];
      const settings = pick(defaults, [...EARLY, ...EARLY_SINGLE]);
      apply(settings, entry.attributes, { rules: serviceRules, isDefaults: false }, mistakes);
      services.push({ ...entry, settings, mistakes });
    } else if (entry.fault !== undefined) warnings.push(entry.fault);
    else if (defaults !== undefined) {
      warnings.push({ place: entry.place, message: "a second defaults entry: xinetd reads only the first" });
    } else {
      defaults = new Map();
      apply(defaults, entry.attributes, { rules: defaultsRules, isDefaults: true }, warnings);
    }
  }
  for (const { settings, mistakes } of services) {
    for (const [name, setting] of pick(defaults, [...LATE, "log_type", "log_on_success", "log_on_failure"])) {
      if (!settings.has(name)) settings.set(name, setting);
    }
    removeInvalid(settings, mistakes);
  }
  return { services, defaults: defaults ?? new Map(), warnings };
}

function pick(settings: Settings | undefined, names: readonly string[]): Map<string, Setting> {
  return new Map([...(settings ?? [])].filter(([name]) => names.includes(name)));
}

function removeInvalid(settings: Map<string, Setting>, mistakes: Mistake[]): void {
  for (const [name, { parts, places }] of [...settings]) {
    const text = parts.map((part) => part.text).join(" ");
    if (serviceRules[name]?.valid?.test(text) !== false) continue;
    settings.delete(name);
    const message = `${name}: "${text}" is not valid, so xinetd disables the service`;
    mistakes.push({ ...(places[0] && { place: places[0] }), message, isFatal: true });
  }
}

interface Scope {
  readonly rules: Readonly<Record<string, Rule>>;
  readonly isDefaults: boolean;
}

function apply(
  settings: Map<string, Setting>,
  attributes: readonly Attribute[],
  { rules, isDefaults }: Scope,
  mistakes: Mistake[],
): void {
  const own = new Set<string>();
  for (const { name: written, operator, values, place } of attributes) {
    const ignored = (message: string): number =>
      mistakes.push({ place, message: `${message}: xinetd ignores the line` });
    const arity = Object.hasOwn(rules, written) ? rules[written]?.arity : undefined;
    const name = written === "interface" ? "bind" : written;
    const parts = values.flatMap((text) => splitValue(name, text)).map((text) => ({ text, place }));
    if (arity === undefined) ignored(unknownAttribute(written, rules, isDefaults));
    else if (arity === "set" && name === "env" && operator === "-=") {
      mistakes.push({ place, message: '"env" does not support "-=", so xinetd disables the service', isFatal: true });
    } else if (arity === "set") {
      const isReplaced = operator === "=" && !isDefaults;
      settings.set(
        name,
        combine(name, isReplaced ? undefined : settings.get(name), operator, { parts, places: [place] }),
      );
    } else if (own.has(name)) ignored(`"${written}" is set twice`);
    else if (operator !== "=") ignored(`"${written}" does not support "${operator}"`);
    else if (arity !== "any" && values.length !== arity) {
      ignored(`"${written}" takes ${arity === 1 ? "one value" : `${arity} values`}, not ${values.length}`);
    } else {
      own.add(name);
      settings.set(name, { parts, places: [place] });
    }
  }
}

function combine(_name: string, before: Setting | undefined, operator: Operator, { parts, places }: Setting): Setting {
  const all = [...(before?.places ?? []), ...places];
  const old = before?.parts ?? [];
  if (operator !== "-=") return { parts: [...old, ...parts], places: all };
  const removed = new Set(parts.map(({ text }) => text));
  return { parts: old.filter(({ text }) => !removed.has(text)), places: all };
}

/** Splits a factorised address, because "-=" can remove a single one. */
function splitValue(name: string, text: string): readonly string[] {
  return name === "only_from" || name === "no_access" ? splitAddress(text) : [text];
}

function unknownAttribute(name: string, rules: Readonly<Record<string, Rule>>, isDefaults: boolean): string {
  if (isDefaults && Object.hasOwn(serviceRules, name)) return `"${name}" is not allowed in the defaults`;
  if (!isDefaults && Object.hasOwn(defaultsRules, name)) return `"${name}" is only allowed in the defaults`;
  const similar = suggest(name, Object.keys(rules));
  return `unknown attribute "${name}"${similar === undefined ? "" : ` (did you mean "${similar}"?)`}`;
}
