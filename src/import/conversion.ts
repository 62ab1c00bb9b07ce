/** The making of one service: what was read of it, what was said about it, and whether it may be served. */

import type { PortNames } from "../config/values/etc-services.ts";
import { clash, type PortMapping, parsePort } from "../config/values/ports.ts";
import { UnitError } from "../config/values/units.ts";
import { type Entries, type Entry, type Place, type Plain, placeOf, type ServiceDraft, type Warning } from "./draft.ts";
import type { Setting, Settings } from "./xinetd-settings.ts";

export class Conversion {
  readonly #settings: Settings;
  readonly #used = new Set<string>();
  readonly #warnings: Warning[] = [];
  /** Why it is not served: xinetd did not, or what kept clients out cannot be had here. */
  readonly #reasons: string[] = [];
  #isQuiet = false;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  get warnings(): readonly Warning[] {
    return this.#warnings;
  }

  get reasons(): readonly string[] {
    return this.#reasons;
  }

  /** An attribute, which counts as dealt with from now on. */
  take(name: string): Setting | undefined {
    this.#used.add(name);
    return this.#settings.get(name);
  }

  /** What nobody took. */
  get left(): [name: string, setting: Setting][] {
    return [...this.#settings].filter(([name]) => !this.#used.has(name));
  }

  /** Does something for its reasons alone: what it warns of is nobody's business. */
  checkOnly(act: () => unknown): void {
    this.#isQuiet = true;
    act();
    this.#isQuiet = false;
  }

  warn(place: Place | undefined, message: string): void {
    if (!this.#isQuiet) this.#warnings.push({ ...(place && { place }), message });
  }

  /** Says why the service is not to be served as it was written, and that. */
  disable(place: Place | undefined, reason: string): void {
    this.#warnings.push({ ...(place && { place }), message: `${reason}: imported with "enabled: false"` });
    this.#reasons.push(reason);
  }
}

/** `value # only_from, file:12, file:13` */
export function entryOf(value: Plain | Entries, name: string, setting: Setting | undefined, more = ""): Entry {
  const places = setting === undefined ? [] : [...new Set(setting.places.map(placeOf))];
  const origin = setting === undefined ? `xinetd's default` : name;
  return { value, note: [origin, ...places, more].filter(Boolean).join(", ") };
}

/** What is there of a mapping; undefined when that is nothing. */
export function mappingOf(entries: Readonly<Record<string, Entry | undefined>>): Entries | undefined {
  const found = Object.entries(entries).filter((one): one is [string, Entry] => one[1] !== undefined);
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** Names as wakeport.yaml has them, each once. */
export class ServiceNames {
  readonly #given = new Set<string>();

  /** A name that is allowed and new, as near to `wanted` as possible. */
  give(wanted: string): string {
    const allowed = wanted.replace(/[^a-zA-Z0-9_.-]/g, "-").replace(/^[^a-zA-Z0-9]+/, "") || "service";
    let name = allowed;
    for (let count = 2; this.#given.has(name); count += 1) name = `${allowed}-${count}`;
    this.#given.add(name);
    return name;
  }
}

/** The fronts of services that are served. A port can be bound once: the first one gets it. */
export class ListenAddresses {
  readonly #names: PortNames;
  readonly #claimed: { readonly owner: string; readonly port: PortMapping }[] = [];

  constructor(names: PortNames) {
    this.#names = names;
  }

  /** @throws UnitError when that is no entry of `ports` */
  read(text: string): PortMapping {
    const port = parsePort(text, this.#names);
    if (port.count !== undefined) throw new UnitError(`"${text}" is no port`);
    return port;
  }

  /** @returns who has it already @throws UnitError when that is no entry of `ports` */
  claim(owner: string, text: string): string | undefined {
    const port = this.read(text);
    const other = this.#claimed.find((one) => clash(one.port, port));
    if (other === undefined) this.#claimed.push({ owner, port });
    return other?.owner;
  }
}

/** A service that is not imported: its lines stay as a remark. */
export function omitted(name: string, reason: string, head: string, lines: readonly string[]): ServiceDraft {
  return { name, remarks: [`${name} (${head}) is not imported: ${reason}`, ...lines.map((line) => `    ${line}`)] };
}
