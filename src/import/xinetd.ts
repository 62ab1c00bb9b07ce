import {
  type Converted,
  type ImportContext,
  Importer,
  NotImportedError,
  sectionOf,
  UDP_NOT_SUPPORTED,
} from "./conversion.ts";
import { type Draft, type Entries, type Entry, placeOf, type Warning, warningLine } from "./draft.ts";
import { accessOf, bannersOf, limitsOf } from "./xinetd-access.ts";
import { mergeEntries, type Settings, type XinetdService } from "./xinetd-attributes.ts";
import type { ParsedFiles } from "./xinetd-parser.ts";
import { portsOf } from "./xinetd-ports.ts";
import { XinetdAttributes } from "./xinetd-service.ts";
import { targetOf } from "./xinetd-target.ts";

/** Differences that apply to every service. */
const REMARKS: readonly string[] = [
  "Differences from xinetd (attributes that are not converted: see docs/xinetd-attributes.md):",
  "- The environment of a server contains PATH, LANG, TZ, HOME and the variables of env. Without passenv, xinetd passes its whole environment.",
  "- wakeport does not read /etc/hosts.allow and /etc/hosts.deny (libwrap): use access.",
  "- When a service exceeds its rate (cps), only the excess clients are rejected; xinetd closes the port for the configured time.",
  "- log_type: the log goes to standard output. log_on_success and log_on_failure select only USERID; the rest is always logged.",
];

/** Converts the entries of xinetd's files. */
export function convertXinetd({ entries, warnings }: ParsedFiles, context: ImportContext): Draft {
  const { services, defaults, warnings: mistakes } = mergeEntries(entries);
  const importer = new Importer(context);
  const converted = services.map((service) => convert(service, defaults, importer));
  const general = [...warnings, ...mistakes];
  return {
    remarks: [...REMARKS, ...general.map((warning) => `warning: ${warningLine(warning)}`)],
    sections: sectionsOf(services),
    services: converted.map(({ draft }) => draft),
    warnings: [...general, ...withoutRepetitions(converted.flatMap((service) => service.warnings))],
  };
}

/** Reports a warning about a line of the defaults once, with the number of other services. */
function withoutRepetitions(warnings: readonly Warning[]): Warning[] {
  const groups = Map.groupBy(warnings, (warning) => warningLine(warning).replace(/: service \S+: /, " "));
  return [...groups.values()].map(([first, ...others]) => {
    const { message, ...place } = first!;
    const count = others.length === 0 ? "" : ` (and ${others.length} more services)`;
    return { ...place, message: message.replace(/^(service \S+)(?=: )/, `$1${count}`) };
  });
}

function convert(service: XinetdService, defaults: Settings, importer: Importer): Converted {
  const { name, place, settings, lines, fault } = service;
  const id = settings.get("id")?.parts[0]?.text ?? name;
  return importer.convert({ label: `service ${id}`, name: id, place, lines }, (notes) => {
    if (fault !== undefined) throw new NotImportedError(warningLine(fault));
    for (const mistake of service.mistakes) {
      if (mistake.isFatal === true) notes.disable(mistake.place, mistake.message);
      else notes.warn(mistake.place, mistake.message);
    }
    const attributes = new XinetdAttributes(settings, notes);
    for (const name of ["id", "log_type", "log_on_failure"]) attributes.take(name);
    checkKind(attributes);
    const ports = portsOf(name, attributes, importer.context.names);
    const target = targetOf(name, attributes, importer.context);
    const isHandedListener = target.key === "inetd" && attributes.words("wait").includes("yes");
    const sections = isHandedListener
      ? checkUnguarded(attributes)
      : sectionsOfService(attributes, target.key, importer);
    checkFlags(attributes, target.key);
    const enabled = disabledBy(id, attributes, defaults);
    attributes.warnOfUnconverted();
    return { ports, keys: { ...(enabled && { enabled }), [target.key]: target.entry, ...sections } };
  });
}

function sectionsOfService(attributes: XinetdAttributes, target: string, { context }: Importer): Entries {
  const { allow, ...access } = accessOf(attributes);
  const isSensor = attributes.words("flags").includes("SENSOR");
  const noClient = isSensor && target === "builtin" ? { value: [] } : undefined;
  if (isSensor && allow !== undefined) {
    attributes.warn("only_from", "not converted: only_from of a sensor, which bans all clients");
  }
  return {
    ...sectionOf("access", { allow: isSensor ? noClient : allow, ...access }),
    ...sectionOf("limits", limitsOf(attributes)),
    ...sectionOf("banner", bannersOf(attributes, context.sources)),
  };
}

/** With wait = yes the server accepts its clients itself. xinetd checks addresses only with INTERCEPT. */
function checkUnguarded(attributes: XinetdAttributes): Entries {
  const isChecked = attributes.words("flags").includes("INTERCEPT");
  for (const name of ["access_times", ...(isChecked ? ["only_from", "no_access"] : [])]) {
    const place = attributes.placeOf(name);
    if (place !== undefined) attributes.notes.disable(place, `${name} is not supported with wait = yes`);
  }
  return {};
}

/** @returns `enabled: false` with the attribute that disables the service, or undefined */
function disabledBy(id: string, attributes: XinetdAttributes, defaults: Settings): Entry | undefined {
  if (attributes.words("disable").includes("yes")) return attributes.entry("disable", false);
  for (const name of ["enabled", "disabled"]) {
    const list = defaults.get(name);
    const isListed = list?.parts.some(({ text }) => text === id);
    if (list === undefined || isListed !== (name === "disabled")) continue;
    return {
      value: false,
      note: [name === "enabled" ? "not in enabled" : name, ...list.places.map(placeOf)].join(", "),
    };
  }
  return undefined;
}

/** @throws NotImportedError for services that wakeport does not support */
function checkKind(attributes: XinetdAttributes): void {
  const [socket] = attributes.words("socket_type");
  const [protocol] = attributes.words("protocol");
  const type = attributes.words("type").find((name) => /^(RPC|TCPMUX|TCPMUXPLUS|SPECIAL)$/.test(name));
  if (type !== undefined) throw new NotImportedError(`services of type ${type} are not supported`);
  if (socket === "dgram" || (socket === undefined && protocol === "udp")) throw new NotImportedError(UDP_NOT_SUPPORTED);
  if (socket === undefined && protocol === undefined) {
    throw new NotImportedError('"socket_type" is missing, so xinetd disables the service');
  }
  if (socket !== undefined && socket !== "stream")
    throw new NotImportedError(`sockets of type "${socket}" are not supported`);
  if (protocol !== undefined && protocol !== "tcp")
    throw new NotImportedError(`the protocol "${protocol}" is not supported`);
}

const CONVERTED_FLAGS = ["REUSE", "NAMEINARGS", "NOLIBWRAP", "SENSOR", "IPv4", "IPv6"];

function checkFlags(attributes: XinetdAttributes, target: string): void {
  const { notes } = attributes;
  const logged = attributes.words("log_on_success");
  if (logged.includes("TRAFFIC") && target !== "forward") {
    const reason = "log_on_success: xinetd disables a service with TRAFFIC that is not redirected";
    attributes.disable("log_on_success", reason);
  }
  const flags = attributes.words("flags").filter((flag) => !CONVERTED_FLAGS.includes(flag));
  const place = attributes.placeOf("flags");
  // IDONLY rejects clients without an identity, but only if USERID asks for the identity.
  if (flags.includes("IDONLY") && logged.includes("USERID")) notes.disable(place, "the flag IDONLY is not supported");
  else if (flags.length > 0) notes.warn(place, `not converted: flags = ${flags.join(" ")}`);
}

/** Settings that xinetd has for each service, or with another default, and wakeport for all services. */
function sectionsOf(services: readonly XinetdService[]): Entries {
  const withUserId = services.flatMap(({ settings }) =>
    ["log_on_success", "log_on_failure"].flatMap((name) => {
      const setting = settings.get(name);
      return setting?.parts.some(({ text }) => text === "USERID") ? [setting] : [];
    }),
  );
  const [first] = withUserId;
  const note = ["USERID", ...(first?.places ?? []).map(placeOf), "for all services"].join(", ");
  return {
    log: {
      value: {
        format: { value: "xinetd", note: "xinetd's lines on standard output; json contains more" },
        ...(first && { user_id: { value: true, note } }),
      },
    },
    defaults: { value: { on_deny: { value: "close", note: "as in xinetd; wakeport's default is reset" } } },
  };
}
