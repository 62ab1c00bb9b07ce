/** Converts the attributes that decide which clients are accepted: access, limits and banners. */
import { ratesOf } from "./conversion.ts";
import type { Entry } from "./draft.ts";
import type { Sources } from "./sources.ts";
import { readAddress } from "./xinetd-addresses.ts";
import type { XinetdAttributes } from "./xinetd-service.ts";

type Section = Readonly<Record<string, Entry | undefined>>;

/** Larger limits of wakeport.yaml are not valid, and equal no limit in practice. */
const MAX_LIMIT = 1_000_000;
const MAX_BANNER = 64 * 1024;

export function accessOf(attributes: XinetdAttributes): Section {
  const onlyFrom = networksOf("only_from", attributes);
  const noAccess = networksOf("no_access", attributes);
  return {
    allow: onlyFrom && attributes.entry("only_from", onlyFrom),
    deny: noAccess && noAccess.length > 0 ? attributes.entry("no_access", noAccess) : undefined,
    times: timesOf(attributes),
  };
}

/** Returns undefined if the attribute is not set. An unknown word never admits more clients than xinetd does. */
function networksOf(name: "only_from" | "no_access", attributes: XinetdAttributes): string[] | undefined {
  const networks = attributes.take(name)?.parts.flatMap(({ text, place }) => {
    const found = readAddress(text);
    if (found !== undefined) return found;
    const message = `not converted: ${name} = ${text}: write the address or network by hand`;
    if (name === "only_from") attributes.notes.warn(place, message);
    else attributes.notes.disable(place, message);
    return [];
  });
  return networks && [...new Set(networks)];
}

/** xinetd includes the last minute of an interval. It disables services with 24:00, or with times over midnight. */
function timesOf(attributes: XinetdAttributes): Entry | undefined {
  const times = attributes.take("access_times")?.parts.flatMap(({ text, place }) => {
    const [start = Number.NaN, end = Number.NaN] = text.split("-").map(minutesOf);
    if (start < end) return [`${clockTime(start)}-${clockTime(end + 1)}`];
    attributes.notes.disable(place, `access_times: "${text}" is not valid, so xinetd disables the service`);
    return [];
  });
  return times === undefined || times.length === 0
    ? undefined
    : attributes.entry("access_times", times, "xinetd includes the last minute");
}

/** Returns NaN for a time after 23:59. */
function minutesOf(time: string): number {
  const [hour = 0, minute = 0] = time.split(":").map(Number);
  return hour < 24 && minute < 60 ? hour * 60 + minute : Number.NaN;
}

function clockTime(minutes: number): string {
  return [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, "0")).join(":");
}

export function limitsOf(attributes: XinetdAttributes): Section {
  const perSource = countOf("per_source", attributes);
  return {
    connections: countOf("instances", attributes),
    per_source: perSource,
    ipv6_prefix: perSource && { value: 128, note: "xinetd counts single addresses; 64 counts networks" },
    ...ratesOf(rateOf(attributes)),
    max_load: loadOf(attributes),
  };
}

function countOf(name: "instances" | "per_source", attributes: XinetdAttributes): Entry | undefined {
  const [word = "UNLIMITED"] = attributes.words(name);
  if (word === "UNLIMITED" || Number(word) > MAX_LIMIT) return undefined;
  if (Number(word) > 0) return attributes.entry(name, Number(word));
  attributes.disable(name, `${name} = 0: xinetd rejects all clients`);
  return undefined;
}

/** xinetd closes the port when the rate is exceeded. */
function rateOf(attributes: XinetdAttributes): Entry | undefined {
  const [rate = 50, pause] = attributes.words("cps").map(Number);
  if (pause === undefined) return attributes.entry("cps", "50/s", "cps = 50 10, but the port stays open");
  if (rate === 0 || rate > MAX_LIMIT) return undefined;
  attributes.warn("cps", `cps: clients above ${rate} per second are rejected; the port is not closed for ${pause} s`);
  return attributes.entry("cps", `${rate}/s`);
}

function loadOf(attributes: XinetdAttributes): Entry | undefined {
  const [word] = attributes.words("max_load");
  if (word === undefined) return undefined;
  const load = Number(/^\+?\d{0,6}(\.\d{0,9})?/.exec(word)?.[0]);
  return attributes.entry("max_load", Math.max(0.01, load));
}

export function bannersOf(attributes: XinetdAttributes, sources: Sources): Section {
  const fileOf = (name: string): Entry | undefined => {
    const [file] = attributes.words(name);
    if (file === undefined) return undefined;
    const size = sources.sizeOf(file) ?? 0;
    if (size > 0 && size <= MAX_BANNER) return { value: { file: attributes.entry(name, file) } };
    const message = `not converted: ${name} = ${file}: not a readable file of 1 to ${MAX_BANNER} bytes on this machine`;
    attributes.warn(name, message);
    return undefined;
  };
  return { connect: fileOf("banner"), accept: fileOf("banner_success"), deny: fileOf("banner_fail") };
}
