/** Converts the attributes that choose the target: a builtin, a sensor, a redirect or a server. */
import net from "node:net";
import type { PortNames } from "../config/values/etc-services.ts";
import { builtinTarget, type ImportContext, mappingOf, NotImportedError, type Target } from "./conversion.ts";
import { type Entries, type Entry, type Plain, placeOf, variable } from "./draft.ts";
import type { XinetdAttributes } from "./xinetd-service.ts";

/** The longest duration of wakeport.yaml, 24 days. */
const MAX_BAN_MINUTES = 24 * 24 * 60;

/** Returns the target of a TCP service. @throws NotImportedError */
export function targetOf(name: string, attributes: XinetdAttributes, context: ImportContext): Target {
  const { notes } = attributes;
  const types = attributes.words("type");
  const redirect = attributes.take("redirect");
  const [wait] = attributes.words("wait");
  if (wait === undefined) notes.disable(undefined, '"wait" is missing, so xinetd disables the service');
  if (attributes.words("flags").includes("SENSOR")) {
    const isServed = types.includes("INTERNAL") || redirect !== undefined || attributes.take("server") !== undefined;
    if (!isServed) notes.disable(undefined, "neither type = INTERNAL nor a server, so xinetd disables the service");
    return sensor(attributes);
  }
  if (types.includes("INTERNAL")) return builtinTarget(name, attributes.entry("type", name));
  if (redirect === undefined) return inetd(attributes, wait === "yes", context);
  if (wait === "yes") attributes.disable("wait", "xinetd does not redirect a service with wait = yes");
  return forward(attributes, context.names);
}

/** A sensor bans every client, whatever only_from contains. Without a deny_time xinetd only logs the clients. */
function sensor(attributes: XinetdAttributes): Target {
  const [time = "NEVER"] = attributes.words("deny_time");
  const minutes = time === "NEVER" ? 0 : time === "FOREVER" ? -1 : Number(time);
  if (minutes === 0) {
    const message = "a sensor without deny_time only logs its clients: imported as a builtin that denies all clients";
    attributes.warn("flags", message);
    return { key: "builtin", entry: attributes.entry("flags = SENSOR", "discard") };
  }
  const isLong = minutes < 0 || minutes > MAX_BAN_MINUTES;
  const place = attributes.placeOf("deny_time");
  if (isLong) attributes.notes.warn(place, "deny_time: a ban lasts at most 24 days, and ends when wakeport ends");
  const ban = attributes.entry("deny_time", `${isLong ? MAX_BAN_MINUTES : minutes}m`);
  return { key: "sensor", entry: { value: { ban }, note: attributes.entry("flags = SENSOR", "").note ?? "" } };
}

function forward(attributes: XinetdAttributes, names: PortNames): Target {
  const [host = "", port = ""] = attributes.words("redirect");
  const number = /^\d+$/.test(port) ? Number(port) : names(port, "tcp");
  if (number < 1 || number > 65_535) throw new NotImportedError(`redirect: "${port}" is not a port`);
  if (!/^[\w.-]+$/.test(host) && !net.isIPv6(host)) throw new NotImportedError(`redirect: "${host}" is not a host`);
  const address = host.includes(":") ? `[${host}]` : host;
  return { key: "forward", entry: attributes.entry("redirect", `${address}:${number}`) };
}

function inetd(attributes: XinetdAttributes, isWaiting: boolean, context: ImportContext): Target {
  const { notes } = attributes;
  const [server] = attributes.words("server");
  if (server === undefined) throw new NotImportedError("it has no server");
  notes.checkProgram(attributes.placeOf("server"), server, context);
  const args = attributes.words("server_args");
  const hasName = attributes.words("flags").includes("NAMEINARGS");
  if (hasName && args.length === 0) {
    attributes.disable("flags", "the flag NAMEINARGS needs server_args, else xinetd disables the service");
  }
  const [argv0] = hasName ? args : [];
  const origin = args.length === 0 ? "server" : "server, server_args";
  if (attributes.take("user") === undefined)
    notes.disable(undefined, '"user" is missing, so xinetd disables the service');
  const value = mappingOf({
    command: attributes.entry(origin, [server, ...(hasName ? args.slice(1) : args)]),
    argv0: argv0 === undefined ? undefined : attributes.entry("flags = NAMEINARGS, server_args", argv0),
    user: attributes.plain("user"),
    group: attributes.plain("group") ?? groupOfUser(attributes),
    groups: attributes.entry("groups", attributes.words("groups")[0] === "yes" ? "init" : "none"),
    env: envOf(attributes),
    cwd: { value: "/", note: "as in xinetd" },
    umask: attributes.entry("umask", umaskOf(attributes)),
    nice: niceOf(attributes),
    rlimits: rlimitsOf(attributes),
    // With wait = yes the server has no connection yet.
    stderr: isWaiting ? undefined : { value: "socket", note: "as in xinetd: stderr is the connection" },
    wait: isWaiting ? attributes.entry("wait", true) : undefined,
  });
  return { key: "inetd", entry: { value: value ?? {} } };
}

/** xinetd uses a numeric user as the group, too. */
function groupOfUser(attributes: XinetdAttributes): Entry | undefined {
  const [user = ""] = attributes.words("user");
  return /^\d+$/.test(user) ? attributes.entry("user", user, "xinetd uses the number as the group, too") : undefined;
}

/** wakeport passes PATH, LANG and TZ without a setting. */
function envOf(attributes: XinetdAttributes): Entry | undefined {
  const env: [string, Entry][] = [];
  for (const { text, place } of attributes.take("passenv")?.parts ?? []) {
    if (["PATH", "LANG", "TZ"].includes(text)) continue;
    if (/^[A-Za-z_]\w*$/.test(text)) env.push([text, { value: variable(text), note: `passenv, ${placeOf(place)}` }]);
    else attributes.notes.warn(place, `not converted: passenv = ${text}`);
  }
  for (const { text, place } of attributes.take("env")?.parts ?? []) {
    const [name = ""] = text.split("=");
    if (name === "" || name === "__proto__") attributes.notes.warn(place, `not converted: env = ${text}`);
    else env.push([name, { value: text.slice(name.length + 1), note: `env, ${placeOf(place)}` }]);
  }
  return env.length === 0 ? undefined : { value: Object.fromEntries(env) };
}

function umaskOf(attributes: XinetdAttributes): string {
  const [umask = "022"] = attributes.words("umask");
  return umask.replace(/^0+(?=\d{3})/, "").padStart(3, "0");
}

/** Linux limits nice values to -20 to 19. */
function niceOf(attributes: XinetdAttributes): Entry | undefined {
  const [nice] = attributes.words("nice");
  return nice === undefined ? undefined : attributes.entry("nice", Math.min(19, Math.max(-20, Number(nice))));
}

const rlimits = { as: "as", cpu: "cpu", data: "data", rss: "rss", stack: "stack", files: "nofile" };

function rlimitsOf(attributes: XinetdAttributes): Entry | undefined {
  const entries = Object.entries(rlimits).flatMap(([suffix, key]): [string, Entry][] => {
    const name = `rlimit_${suffix}`;
    const value = rlimitOf(attributes, name);
    return value === undefined ? [] : [[key, attributes.entry(name, value)]];
  });
  const value: Entries | undefined = mappingOf(Object.fromEntries(entries));
  return value && { value };
}

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2 };

/** Returns undefined for 0, which xinetd ignores. */
function rlimitOf(attributes: XinetdAttributes, name: string): Plain | undefined {
  const [word] = attributes.words(name);
  if (word === "UNLIMITED") return "unlimited";
  const [, digits = "0", letter = ""] = /^0*(\d+)([kKmM]?)$/.exec(word ?? "") ?? [];
  if (Number(digits) === 0) return undefined;
  const unit = letter.toLowerCase();
  if (name === "rlimit_cpu" || name === "rlimit_files") return Number(digits) * (UNITS[unit] ?? 1);
  return `${Number(digits)}${unit === "" ? "b" : unit}`;
}
