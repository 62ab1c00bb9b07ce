/** What answers a service: the attributes of xinetd as the one target that a service has here. */
import net from "node:net";
import { builtinNames } from "../config/config.ts";
import type { PortNames } from "../config/values/etc-services.ts";
import { UnitError } from "../config/values/units.ts";
import { type Conversion, entryOf, mappingOf } from "./conversion.ts";
import { type Entry, type Plain, placeOf, variable } from "./draft.ts";
import type { Sources } from "./sources.ts";
import { wholeNumber } from "./xinetd-limits.ts";
import type { Setting } from "./xinetd-settings.ts";

/** What a target may need to know of its surroundings. */
export interface ImportContext {
  readonly names: PortNames;
  readonly sources: Sources;
}

/** A target by the key that it has, or why there cannot be one. */
export type Target = { readonly key: string; readonly entry: Entry } | { readonly reason: string };

/** Whether that is a service that needs no program. */
export function isBuiltin(name: string): boolean {
  return builtinNames.some((one) => one === name);
}

/** Attributes that say how a process is started; without one they mean nothing. */
const PROCESS_ONLY = [
  ...["user", "group", "groups", "umask", "nice", "env", "passenv", "server", "server_args"],
  ...["rlimit_as", "rlimit_cpu", "rlimit_data", "rlimit_rss", "rlimit_stack", "rlimit_files"],
];

export function wordsOf(setting: Setting | undefined): string[] {
  return setting?.parts.map(({ text }) => text) ?? [];
}

/** The target of a service that listens for TCP. */
export function targetOf(name: string, flags: ReadonlySet<string>, made: Conversion, context: ImportContext): Target {
  const type = made.take("type");
  const types = wordsOf(type);
  const redirect = made.take("redirect");
  const wait = made.take("wait");
  const [waits] = wordsOf(wait);
  if (waits === undefined) made.disable(undefined, '"wait" is missing, for which xinetd disables the service');
  else if (waits !== "yes" && waits !== "no") {
    made.disable(wait?.places[0], `wait: "${waits}" is neither yes nor no, for which xinetd disables the service`);
  }
  if (flags.has("SENSOR")) {
    if (!types.includes("INTERNAL") && redirect === undefined && made.take("server") === undefined) {
      made.disable(undefined, "it has neither type = INTERNAL nor a server, for which xinetd disables the service");
    }
    return withoutProcess(sensor(made), made);
  }
  if (types.includes("INTERNAL")) return withoutProcess(builtin(name, type, made), made);
  if (redirect !== undefined) {
    if (waits === "yes") made.disable(wait?.places[0], "xinetd does not redirect a service with wait = yes");
    return withoutProcess(forward(redirect, context.names), made);
  }
  return inetd(flags, waits === "yes", wait, made, context.sources);
}

function withoutProcess(target: Target, made: Conversion): Target {
  // A value that xinetd cannot read disables the service all the same.
  for (const check of [umaskOf, niceOf, rlimitsOf, envOf]) check(made);
  groupsOf(undefined, made);
  argumentsOf(made);
  const idle = PROCESS_ONLY.flatMap((name) => {
    const setting = made.take(name);
    return setting === undefined ? [] : [`${name} (${setting.places.map(placeOf).join(", ")})`];
  });
  if (idle.length > 0) made.warn(undefined, `no process is started, so these mean nothing: ${idle.join(", ")}`);
  return target;
}

function builtin(name: string, type: Setting | undefined, made: Conversion): Target {
  if (!isBuiltin(name)) return { reason: `wakeport has no builtin "${name}", only ${builtinNames.join(", ")}` };
  const flags = made.take("flags");
  if (wordsOf(flags).includes("NAMEINARGS")) {
    made.disable(flags?.places[0], "xinetd disables a builtin with the flag NAMEINARGS");
  }
  return { key: "builtin", entry: entryOf(name, "type = INTERNAL", type) };
}

function sensor(made: Conversion): Target {
  const setting = made.take("deny_time");
  const [part] = setting?.parts ?? [];
  const flags = made.take("flags");
  const minutes = part === undefined ? 0 : minutesOf(part.text);
  const onlyFrom = made.take("only_from");
  if (onlyFrom !== undefined)
    made.warn(onlyFrom.places[0], "only_from means nothing to a sensor: whoever connects is banned");
  if (minutes === undefined) made.disable(part?.place, `deny_time: "${part?.text}" is no number of minutes`);
  if (minutes === 0) {
    made.warn(part?.place, "without a deny_time xinetd only logs who connects, and so does this: everybody is denied");
    return { key: "builtin", entry: entryOf("discard", "flags = SENSOR", flags) };
  }
  const isLong = minutes === undefined || minutes < 0 || minutes > MAX_MINUTES;
  if (isLong) made.warn(part?.place, "deny_time: a ban lasts 24 days at most, or until wakeport ends");
  const ban = entryOf(`${isLong ? MAX_MINUTES : minutes}m`, "deny_time", setting);
  return { key: "sensor", entry: { value: { ban }, note: entryOf("", "flags = SENSOR", flags).note ?? "" } };
}

/** A deny_time: -1 for ever, 0 not at all. */
export function minutesOf(text: string): number | undefined {
  if (text === "NEVER") return 0;
  return text === "FOREVER" ? -1 : wholeNumber(text);
}

/** The longest duration of wakeport.yaml, 24 days. */
const MAX_MINUTES = 24 * 24 * 60;

function forward(redirect: Setting, names: PortNames): Target {
  const [host = "", port = ""] = wordsOf(redirect);
  const number = wholeNumber(port) ?? portOf(port, names);
  if (number === undefined || number < 1 || number > 65_535) return { reason: `redirect: "${port}" is no port` };
  if (!/^[\w.-]+$/.test(host) && !net.isIPv6(host)) return { reason: `redirect: "${host}" is no host` };
  const address = host.includes(":") ? `[${host}]` : host;
  return { key: "forward", entry: entryOf(`${address}:${number}`, "redirect", redirect) };
}

function portOf(name: string, names: PortNames): number | undefined {
  try {
    return names(name, "tcp");
  } catch (error) {
    if (error instanceof UnitError) return undefined;
    throw error;
  }
}

function inetd(
  flags: ReadonlySet<string>,
  waits: boolean,
  wait: Setting | undefined,
  made: Conversion,
  sources: Sources,
): Target {
  const server = made.take("server");
  const [path] = wordsOf(server);
  if (path === undefined) return { reason: "it has no server" };
  if (!sources.isProgram(path)) {
    made.warn(
      server?.places[0],
      `server: "${path}" is no program that can be run on this machine, where xinetd would disable the service`,
    );
  }
  const args = argumentsOf(made);
  const words = wordsOf(args);
  const hasName = flags.has("NAMEINARGS");
  if (hasName && args === undefined) {
    made.disable(undefined, "the flag NAMEINARGS needs server_args, else xinetd disables the service");
  }
  const [nameAt] = made.take("flags")?.places ?? [];
  if (hasName && (args?.places[0]?.line ?? 0) < (nameAt?.line ?? 0)) {
    made.disable(nameAt, "the flag NAMEINARGS behind server_args: xinetd crashes when a client comes");
  }
  const command = [path, ...(hasName ? words.slice(1) : words)];
  const [argv0] = hasName ? words : [];
  const lines = { parts: [], places: [...(server?.places ?? []), ...(args?.places ?? [])] };
  const user = made.take("user");
  if (user === undefined) made.disable(undefined, '"user" is missing, for which xinetd disables the service');
  const value = mappingOf({
    command: entryOf(command, args === undefined ? "server" : "server, server_args", lines),
    argv0: argv0 === undefined ? undefined : entryOf(argv0, "flags = NAMEINARGS", args),
    user: plain("user", user),
    ...groupsOf(user, made),
    env: envOf(made),
    cwd: { value: "/", note: "xinetd's own" },
    umask: umaskOf(made),
    nice: niceOf(made),
    rlimits: rlimitsOf(made),
    // The server has no connection yet that its stderr could be.
    stderr: waits ? undefined : { value: "socket", note: "as in xinetd, where it is the connection too" },
    wait: waits ? entryOf(true, "wait", wait) : undefined,
  });
  return { key: "inetd", entry: { value: value ?? {} } };
}

function argumentsOf(made: Conversion): Setting | undefined {
  const setting = made.take("server_args");
  if (setting?.parts.length === 0) {
    made.disable(setting.places[0], "server_args without a word, for which xinetd disables the service");
  }
  return setting;
}

function plain(name: string, setting: Setting | undefined): Entry | undefined {
  const [word] = wordsOf(setting);
  return word === undefined ? undefined : entryOf(word, name, setting);
}

function groupsOf(user: Setting | undefined, made: Conversion): Record<string, Entry | undefined> {
  const groups = made.take("groups");
  const [word] = wordsOf(groups);
  if (word !== undefined && word !== "yes" && word !== "no") {
    made.disable(groups?.places[0], `groups: "${word}" is neither yes nor no, for which xinetd disables the service`);
  }
  const [name = ""] = wordsOf(user);
  const group = plain("group", made.take("group"));
  const own = /^\d+$/.test(name) ? entryOf(name, "user", user, "xinetd gives a number its own group") : undefined;
  return { group: group ?? own, groups: entryOf(word === "yes" ? "init" : "none", "groups", groups) };
}

function envOf(made: Conversion): Entry | undefined {
  const env = made.take("env");
  const passenv = made.take("passenv");
  if (passenv !== undefined && passenv.parts.length === 0) {
    made.warn(passenv.places[0], "passenv is empty: PATH, LANG, TZ and HOME are passed all the same");
  }
  const passed = (passenv?.parts ?? [])
    .filter(({ text }) => !["PATH", "LANG", "TZ"].includes(text))
    .flatMap(({ text, place }): [string, Entry][] => {
      if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) {
        return [[text, { value: variable(text), note: `passenv, ${placeOf(place)}` }]];
      }
      made.warn(place, `passenv: "${text}" is no name that can be passed on`);
      return [];
    });
  const own = (env?.parts ?? []).flatMap(({ text, place }): [string, Entry][] => {
    const at = text.indexOf("=");
    if (at < 0) made.disable(place, `env: "${text}" has no "=", for which xinetd disables the service`);
    if (at === 0) made.warn(place, `env: "${text}" has no name, and is left out`);
    if (text.startsWith("__proto__=")) made.warn(place, 'env: "__proto__" cannot be a name here, and is left out');
    if (at <= 0 || text.startsWith("__proto__=")) return [];
    return [[text.slice(0, at), { value: text.slice(at + 1), note: `env, ${placeOf(place)}` }]];
  });
  return entriesOf([...passed, ...own]);
}

function entriesOf(entries: readonly [string, Entry][]): Entry | undefined {
  return entries.length === 0 ? undefined : { value: Object.fromEntries(entries) };
}

function umaskOf(made: Conversion): Entry {
  const setting = made.take("umask");
  const [word = "022"] = wordsOf(setting);
  if (/^0*[0-7]{1,3}$/.test(word)) return entryOf(word.replace(/^0+(?=\d{3})/, "").padStart(3, "0"), "umask", setting);
  made.disable(
    setting?.places[0],
    `umask: "${word}" is no octal number up to 777, for which xinetd disables the service`,
  );
  return entryOf("022", "umask", undefined);
}

function niceOf(made: Conversion): Entry | undefined {
  const setting = made.take("nice");
  const [word] = wordsOf(setting);
  if (word === undefined) return undefined;
  const nice = wholeNumber(word);
  if (nice === undefined) {
    made.disable(setting?.places[0], `nice: "${word}" is no number, for which xinetd disables the service`);
    return undefined;
  }
  const bounded = Math.min(19, Math.max(-20, nice));
  if (bounded !== nice) made.warn(setting?.places[0], `nice: ${nice} means ${bounded} to the system`);
  return entryOf(bounded, "nice", setting);
}

const limits: Readonly<Record<string, string>> = {
  rlimit_as: "as",
  rlimit_cpu: "cpu",
  rlimit_data: "data",
  rlimit_rss: "rss",
  rlimit_stack: "stack",
  rlimit_files: "nofile",
};

function rlimitsOf(made: Conversion): Entry | undefined {
  const found = Object.entries(limits).flatMap(([name, key]): [string, Entry][] => {
    const setting = made.take(name);
    const [word] = wordsOf(setting);
    if (word === undefined) return [];
    const value = limitOf(word, name);
    if (value === undefined) {
      made.disable(setting?.places[0], `${name}: "${word}" is no limit, for which xinetd disables the service`);
    } else if (value === 0) {
      made.warn(setting?.places[0], `${name}: 0 is no limit to xinetd, and is left out`);
    }
    if (name === "rlimit_rss") made.warn(setting?.places[0], "rlimit_rss has no effect on Linux");
    return value === undefined || value === 0 ? [] : [[key, entryOf(value, name, setting)]];
  });
  return entriesOf(found);
}

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2 };

function limitOf(word: string, name: string): Plain | undefined {
  if (word === "UNLIMITED") return "unlimited";
  const [, digits, letter = ""] = /^0*(\d{1,15})([kKmM]?)$/.exec(word) ?? [];
  const unit = letter.toLowerCase();
  if (digits === undefined || (name === "rlimit_cpu" && unit !== "")) return undefined;
  const count = Number(digits);
  if (name === "rlimit_cpu" || name === "rlimit_files" || count === 0) return count * (UNITS[unit] ?? 1);
  return `${count}${unit === "" ? "b" : unit}`;
}
