/** Who may connect, how often and when: the attributes of xinetd as sections of a service. */
import { type Conversion, entryOf, mappingOf } from "./conversion.ts";
import type { Entries, Entry } from "./draft.ts";
import type { Sources } from "./sources.ts";
import { AddressError, readAddress } from "./xinetd-addresses.ts";
import type { Part, Setting } from "./xinetd-settings.ts";

const UNLIMITED = "UNLIMITED";
/** The largest number that a limit may have here; more is no limit. */
const MOST = 1_000_000;

/** The whole number that a value is. */
export function wholeNumber(text: string): number | undefined {
  const number = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
  return number;
}

/** `access` */
export function accessOf(made: Conversion): Entries | undefined {
  const onlyFrom = made.take("only_from");
  const noAccess = made.take("no_access");
  return mappingOf({
    allow: onlyFrom && entryOf(networksOf(onlyFrom, "only_from", made), "only_from", onlyFrom),
    deny: noAccess && denied(noAccess, made),
    times: timesOf(made),
  });
}

function denied(setting: Setting, made: Conversion): Entry | undefined {
  const networks = networksOf(setting, "no_access", made);
  return networks.length === 0 ? undefined : entryOf(networks, "no_access", setting);
}

function networksOf({ parts }: Setting, name: "only_from" | "no_access", made: Conversion): string[] {
  const networks = parts.flatMap((part) => networksOfPart(part, name, made));
  return [...new Set(networks)];
}

function networksOfPart({ text, place }: Part, name: "only_from" | "no_access", made: Conversion): readonly string[] {
  let rules: ReturnType<typeof readAddress>;
  try {
    rules = readAddress(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    made.disable(place, `${name}: ${error.message}, so xinetd disables the service`);
    return [];
  }
  if (rules.length === 0) made.warn(place, `${name}: xinetd cannot read "${text}" and leaves it out`);
  for (const { isName = false, trap } of rules) {
    if (trap !== undefined) made.warn(place, `${name}: ${trap}`);
    if (!isName) continue;
    const names = `${name}: "${text}" is a name, and clients are known by their addresses here`;
    if (name === "only_from") made.warn(place, `${names}: it is left out, which lets nobody else in`);
    else made.disable(place, `${names}: who was denied by it would get in`);
  }
  return rules.flatMap(({ networks }) => networks);
}

/** xinetd counts the last minute of an interval as well. */
function timesOf(made: Conversion): Entry | undefined {
  const setting = made.take("access_times");
  if (setting === undefined) return undefined;
  const [place] = setting.places;
  if (setting.parts.length === 0)
    made.disable(place, "access_times without a time, for which xinetd disables the service");
  const times = setting.parts.map(({ text }) => {
    const [, ...words] = /^(\d{1,2}):(\d{1,2})-(\d{1,2}):(\d{1,2})$/.exec(text) ?? [];
    const [hour = 99, minute = 0, lastHour = 99, lastMinute = 0] = words.map(Number);
    const [start, end] = [hour * 60 + minute, lastHour * 60 + lastMinute];
    const isTime = hour < 24 && minute < 60 && lastMinute < 60 && end <= 24 * 60;
    if (!isTime) {
      made.disable(
        place,
        `access_times: "${text}" is no time from 0:00 to 23:59, for which xinetd disables the service`,
      );
      return undefined;
    }
    if (end === 24 * 60 || start >= end) {
      const what = end === 24 * 60 ? "ends at 24:00" : start === end ? "has no length" : "goes over midnight";
      made.disable(
        place,
        `access_times: "${text}" ${what}, for which xinetd disables the service (wakeport knows such times)`,
      );
      return start === end ? undefined : `${clock(start)}-${clock(end)}`;
    }
    return `${clock(start)}-${clock(end + 1)}`;
  });
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : entryOf(known, "access_times", setting, "xinetd's last minute is part of it");
}

function clock(minutes: number): string {
  return [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, "0")).join(":");
}

/** `limits` */
export function limitsOf(made: Conversion): Entries | undefined {
  const connections = countOf("instances", made);
  const perSource = countOf("per_source", made);
  return mappingOf({
    connections,
    per_source: perSource,
    // xinetd counts whole addresses; an IPv6 client has as many of them as it likes.
    ipv6_prefix: perSource && { value: 128, note: "xinetd counts single addresses; 64 would count networks" },
    ...ratesOf(made),
    max_load: loadOf(made),
  });
}

function countOf(name: "instances" | "per_source", made: Conversion): Entry | undefined {
  const setting = made.take(name);
  const [part] = setting?.parts ?? [];
  if (setting === undefined || part === undefined || part.text === UNLIMITED) return undefined;
  const count = wholeNumber(part.text);
  if (count === undefined || count < 0) {
    made.disable(part.place, `${name}: "${part.text}" is no number, for which xinetd disables the service`);
    return undefined;
  }
  if (count > MOST) return undefined;
  if (count > 0) return entryOf(count, name, setting);
  made.disable(part.place, `${name} = 0: xinetd refuses everybody`);
  return undefined;
}

/** A number of connections a second; what xinetd does beyond it is not done here. */
function ratesOf(made: Conversion): Record<string, Entry> {
  const setting = made.take("cps");
  if (setting === undefined) return both(entryOf("50/s", "cps", undefined, "cps = 50 10; but the port stays open"));
  const [count, wait] = setting.parts.map(({ text }) => wholeNumber(text));
  const [place] = setting.places;
  if (count === undefined || wait === undefined || count < 0 || wait < 0) {
    made.disable(place, "cps takes two numbers, else xinetd disables the service");
    return {};
  }
  if (count === 0 || count > MOST) return {};
  made.warn(place, `cps: who comes beyond ${count} a second is refused, but the port is not closed for ${wait} s`);
  return both(entryOf(`${count}/s`, "cps", setting));
}

/** One source alone would get half of the rate. */
function both(rate: Entry): Record<string, Entry> {
  return { rate, rate_per_source: { value: rate.value, note: "one source may have all of it, as in xinetd" } };
}

function loadOf(made: Conversion): Entry | undefined {
  const setting = made.take("max_load");
  const [part] = setting?.parts ?? [];
  if (setting === undefined || part === undefined) return undefined;
  const load = Number(/^[+]?\d{0,6}(\.\d{0,9})?/.exec(part.text)?.[0] || Number.NaN);
  if (load > 0) return entryOf(Math.max(0.01, load), "max_load", setting);
  made.disable(part.place, `max_load: "${part.text}" is no load, for which xinetd disables the service`);
  return undefined;
}

/** `banner`: files, sent as they are. */
export function bannerOf(made: Conversion, sources: Sources): Entries | undefined {
  const fileOf = (name: string): Entry | undefined => {
    const setting = made.take(name);
    const [part] = setting?.parts ?? [];
    if (part === undefined) return undefined;
    const size = sources.sizeOf(part.text);
    if (size !== undefined && size > 0 && size <= MAX_BANNER) {
      return { value: { file: entryOf(part.text, name, setting) } };
    }
    const what = size === undefined ? "is no file that can be read on this machine" : `has ${size} bytes`;
    made.warn(part.place, `${name}: "${part.text}" ${what}: it is left out`);
    return undefined;
  };
  return mappingOf({ connect: fileOf("banner"), accept: fileOf("banner_success"), deny: fileOf("banner_fail") });
}

const MAX_BANNER = 64 * 1024;
