import { Conversion, entryOf, ListenAddresses, mappingOf, omitted, ServiceNames } from "./conversion.ts";
import {
  type Draft,
  type Entries,
  type Entry,
  placeOf,
  type ServiceDraft,
  type Warning,
  warningLine,
} from "./draft.ts";
import type { Sources } from "./sources.ts";
import { splitAddress } from "./xinetd-addresses.ts";
import type { XinetdEntry } from "./xinetd-entries.ts";
import { accessOf, bannerOf, limitsOf } from "./xinetd-limits.ts";
import { portsOf } from "./xinetd-ports.ts";
import { warnOfTheRest } from "./xinetd-rest.ts";
import { type Setting, type Settings, settle, type XinetdService } from "./xinetd-settings.ts";
import { type ImportContext, targetOf, wordsOf } from "./xinetd-target.ts";

/** What is different for every service; it is said once. */
const GENERAL: readonly string[] = [
  "The environment of a server is PATH, LANG, TZ, HOME and what env says; without passenv xinetd passes on all of its own.",
  "/etc/hosts.allow and /etc/hosts.deny (libwrap) are not read: say it in access.",
  "A service with too many connections a second (cps) is not closed for a while: only who is too much is refused.",
  "log_on_success and log_on_failure choose nothing but USERID: all of it is logged, always.",
];

/** Makes a draft of the entries of xinetd's files. @param found what was wrong with their form */
export function convertXinetd(
  entries: readonly XinetdEntry[],
  found: readonly Warning[],
  context: ImportContext,
): Draft {
  const split = (name: string, text: string): readonly { text: string; key: string }[] =>
    name === "only_from" || name === "no_access" ? splitAddress(text) : [{ text, key: text }];
  const { services, defaults, warnings } = settle(entries, split);
  const names = new ServiceNames();
  const listeners = new ListenAddresses(context.names);
  const converted = services.map((service) =>
    convert(service, defaults, { ...context, serviceNames: names, listeners }),
  );
  const all = [...found, ...warnings, ...logTypeWarnings([defaults, ...services.map(({ settings }) => settings)])];
  return {
    remarks: [
      "What is different from xinetd:",
      ...GENERAL.map((line) => `- ${line}`),
      ...all.map((one) => `warning: ${warningLine(one)}`),
    ],
    sections: sectionsOf(services),
    services: converted.map(({ draft }) => draft),
    warnings: [...all, ...told(converted.flatMap((one) => one.warnings))],
  };
}

/** What a line of the defaults means for every service is told of the first one, and of how many others. */
function told(warnings: readonly Warning[]): Warning[] {
  const groups = Map.groupBy(warnings, ({ place, message }, index) =>
    place === undefined ? String(index) : `${placeOf(place)} ${message.replace(/^service \S+: /, "")}`,
  );
  return [...groups.values()].map(([first, ...others]) => {
    const { place, message } = first!;
    const count = others.length === 0 ? "" : ` (and ${others.length} more services)`;
    return { ...(place && { place }), message: message.replace(/^(service \S+)(?=: )/, `$1${count}`) };
  });
}

interface Work extends ImportContext {
  readonly serviceNames: ServiceNames;
  readonly listeners: ListenAddresses;
}

interface Converted {
  readonly draft: ServiceDraft;
  readonly warnings: readonly Warning[];
}

function convert(service: XinetdService, defaults: Settings, work: Work): Converted {
  const { name, place, settings, lines, fault } = service;
  const made = new Conversion(settings);
  const id = wordsOf(made.take("id"))[0] ?? name;
  const none = (reason: string, warnings: readonly Warning[]): Converted => ({
    draft: omitted(`service ${id}`, reason, placeOf(place), lines),
    warnings: [...warnings, { place, message: `service ${id} is not imported: ${reason}` }],
  });
  if (fault !== undefined) return none(warningLine(fault), []);
  for (const reason of service.reasons) made.disable(reason.place, reason.message);
  const isOff = disabledAt(made, id, defaults);
  const flags = flagsOf(made);
  const unsupported = unsupportedKind(made, flags);
  if (unsupported !== undefined) return none(unsupported, service.warnings);
  const port = portsOf(name, flags, made, work.names);
  if ("reason" in port) return none(port.reason, service.warnings);
  const target = targetOf(name, flags, made, work);
  if ("reason" in target) return none(target.reason, service.warnings);
  const takesListener = target.key === "inetd" && wordsOf(made.take("wait")).includes("yes");
  if (takesListener) dropForListener(made, flags, work.sources);
  const { allow, ...access } = (takesListener ? undefined : accessOf(made)) ?? {};
  const keys: Record<string, Entry> = { ports: port.entry, [target.key]: target.entry };
  // Whom a sensor meets is banned, whatever only_from says.
  const isSensor = flags.has("SENSOR");
  const nobody = isSensor && target.key === "builtin" ? { value: [] } : undefined;
  const sections = {
    access: mappingOf({ allow: isSensor ? nobody : allow, ...access }),
    limits: takesListener ? undefined : limitsOf(made),
    banner: takesListener ? undefined : bannerOf(made, work.sources),
  };
  for (const [key, value] of Object.entries(sections)) if (value !== undefined) keys[key] = { value };
  warnOfTheRest(made, flags, target.key);
  if (isOff === undefined) checkListener(id, port, made, work);
  const enabled = enabledEntry(isOff, made.reasons);
  const own = [...service.warnings, ...made.warnings];
  const safe = work.serviceNames.give(id);
  return {
    draft: {
      name: safe,
      remarks: [`service ${id}, ${placeOf(place)}`, ...own.map((one) => `warning: ${warningLine(one)}`)],
      keys: enabled === undefined ? keys : { ports: port.entry, enabled, ...keys },
    },
    warnings: own.map((one) => ({ ...one, place: one.place ?? place, message: `service ${id}: ${one.message}` })),
  };
}

/** A server that is handed the listener accepts its clients itself: what xinetd did about them is little. */
function dropForListener(made: Conversion, flags: ReadonlySet<string>, sources: Sources): void {
  // What xinetd cannot read disables the service all the same.
  made.checkOnly(() => [accessOf(made), limitsOf(made), bannerOf(made, sources)]);
  for (const name of ["only_from", "no_access"]) {
    const place = made.take(name)?.places[0];
    const without = `wait = yes: ${name} is left out: the server accepts its clients itself`;
    if (place !== undefined && flags.has("INTERCEPT"))
      made.disable(place, `${without}, and nothing can INTERCEPT them`);
    else if (place !== undefined) made.warn(place, `${without}, and xinetd does not heed it either`);
  }
  const times = made.take("access_times");
  if (times !== undefined) made.disable(times.places[0], "wait = yes: access_times cannot be had");
  for (const name of ["instances", "per_source", "cps", "max_load", "banner", "banner_success", "banner_fail"]) {
    const place = made.take(name)?.places[0];
    if (place !== undefined) made.warn(place, `wait = yes: ${name} is left out: the server accepts its clients itself`);
  }
}

function enabledEntry(off: Off | undefined, reasons: readonly string[]): Entry | undefined {
  if (off !== undefined) return entryOf(false, off.name, off.setting);
  return reasons.length === 0 ? undefined : { value: false, note: reasons.join("; ") };
}

interface Off {
  readonly name: string;
  readonly setting: Setting;
}

/** Which attribute says that the service is off. */
function disabledAt(made: Conversion, id: string, defaults: Settings): Off | undefined {
  const setting = made.take("disable");
  const [word] = wordsOf(setting);
  if (setting !== undefined && word === "yes") return { name: "disable", setting };
  if (setting !== undefined && word !== "no") {
    made.disable(setting.places[0], `disable: "${word}" is neither yes nor no, for which xinetd disables the service`);
  }
  const enabled = defaults.get("enabled");
  if (enabled !== undefined && !wordsOf(enabled).includes(id)) return { name: "not in enabled", setting: enabled };
  const disabled = defaults.get("disabled");
  return disabled !== undefined && wordsOf(disabled).includes(id) ? { name: "disabled", setting: disabled } : undefined;
}

const knownFlags =
  "REUSE INTERCEPT NORETRY IDONLY NAMEINARGS NODELAY KEEPALIVE NOLIBWRAP SENSOR IPv4 IPv6 LABELED".split(" ");
const knownTypes = ["RPC", "INTERNAL", "UNLISTED", "SPECIAL", "TCPMUX", "TCPMUXPLUS"];

function flagsOf(made: Conversion): ReadonlySet<string> {
  for (const [name, known] of Object.entries({ flags: knownFlags, type: knownTypes })) {
    const setting = made.take(name);
    const [wrong] = wordsOf(setting).filter((word) => !known.includes(word));
    if (setting === undefined || (wrong === undefined && setting.parts.length > 0)) continue;
    const what = wrong === undefined ? `${name} without a word` : `${name}: "${wrong}" is unknown`;
    made.disable(setting.places[0], `${what}, for which xinetd disables the service`);
  }
  return new Set(wordsOf(made.take("flags")));
}

/** What wakeport does not do at all. */
function unsupportedKind(made: Conversion, flags: ReadonlySet<string>): string | undefined {
  const [socket] = wordsOf(made.take("socket_type"));
  const [protocol] = wordsOf(made.take("protocol"));
  const types = wordsOf(made.take("type"));
  if (types.includes("RPC")) return "SunRPC is not supported";
  if (types.includes("TCPMUX") || types.includes("TCPMUXPLUS")) return "services behind tcpmux are not supported";
  if (types.includes("SPECIAL")) return "it is internal to xinetd";
  if (socket === "dgram" || (socket === undefined && protocol === "udp")) {
    return flags.has("SENSOR") || types.includes("INTERNAL")
      ? "builtins and sensors for UDP are not supported"
      : 'a UDP server that takes over the socket is not supported; one that listens by itself can be a "process"';
  }
  if (socket === undefined && protocol === undefined)
    return '"socket_type" is missing, for which xinetd disables the service';
  if (socket !== undefined && socket !== "stream") return `sockets of type "${socket}" are not supported`;
  return protocol === undefined || protocol === "tcp" ? undefined : `the protocol "${protocol}" is not supported`;
}

/** Of several services with one port xinetd serves the first. */
function checkListener(id: string, { text }: { readonly text: string }, made: Conversion, { listeners }: Work): void {
  if (made.reasons.length > 0) return;
  const other = listeners.claim(id, text);
  if (other !== undefined) made.disable(undefined, `the port of "${text}" is taken by the service ${other}`);
}

/** Where xinetd's services have a setting each, or another default, and wakeport one for all. */
function sectionsOf(services: readonly XinetdService[]): Entries {
  const asking = services.flatMap(({ settings }) =>
    ["log_on_success", "log_on_failure"].flatMap((name) => {
      const setting = settings.get(name);
      return setting !== undefined && wordsOf(setting).includes("USERID") ? [{ name, setting }] : [];
    }),
  );
  const [first] = asking;
  return {
    log: {
      value: {
        format: { value: "xinetd", note: "the lines of xinetd, on standard output; json says more" },
        ...(first && { user_id: entryOf(true, "USERID", first.setting, "for all services") }),
      },
    },
    defaults: { value: { on_deny: { value: "close", note: "as xinetd does; reset is the default" } } },
  };
}

/** Each line with a log_type once, however many services it holds for. */
function logTypeWarnings(all: readonly Settings[]): Warning[] {
  const found = new Map(
    all.flatMap((settings) => {
      const setting = settings.get("log_type");
      const [place] = setting?.places ?? [];
      if (setting === undefined || place === undefined) return [];
      const message = `log_type = ${wordsOf(setting).join(" ")} is left out: the log goes to standard output`;
      return [[placeOf(place), { place, message }]];
    }),
  );
  return [...found.values()];
}
