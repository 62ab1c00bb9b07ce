/** What the imports of xinetd.conf and inetd.conf share: warnings, names, ports and the finished service. */
import { builtinNames } from "../config/config.ts";
import type { PortNames } from "../config/values/etc-services.ts";
import { clash, type PortMapping, parsePort } from "../config/values/ports.ts";
import { UnitError } from "../config/values/units.ts";
import {
  type Entries,
  type Entry,
  type Place,
  placeOf,
  type ServiceDraft,
  type Warning,
  warningLine,
} from "./draft.ts";
import type { Sources } from "./sources.ts";

export interface ImportContext {
  readonly names: PortNames;
  readonly sources: Sources;
}

/** The target of a service, by its key in wakeport.yaml. */
export interface Target {
  readonly key: string;
  readonly entry: Entry;
}

export interface Converted {
  readonly draft: ServiceDraft;
  readonly warnings: readonly Warning[];
}

/** The service cannot be imported; its lines stay as a comment. */
export class NotImportedError extends Error {
  override readonly name = "NotImportedError";
}

/** Collects the warnings of one service and the reasons why it is imported with `enabled: false`. */
export class Notes {
  readonly warnings: Warning[] = [];
  readonly reasons: string[] = [];

  warn(place: Place | undefined, message: string): void {
    this.warnings.push({ ...(place && { place }), message });
  }

  disable(place: Place | undefined, reason: string): void {
    this.warn(place, `${reason}: imported with "enabled: false"`);
    this.reasons.push(reason);
  }

  /** Warns if a program of the service is missing on this machine. */
  checkProgram(place: Place | undefined, program: string, { sources }: ImportContext): void {
    if (!sources.isProgram(program)) this.warn(place, `"${program}" is not an executable program on this machine`);
  }
}

/** What identifies a service in messages. */
export interface Head {
  /** `service ftp` */
  readonly label: string;
  readonly name: string;
  readonly place: Place;
  /** The original lines. */
  readonly lines: readonly string[];
}

/** Builds the services of one import. Each name and each port is used once. */
export class Importer {
  readonly context: ImportContext;
  readonly #names = new Set<string>();
  readonly #claimed: { readonly owner: string; readonly port: PortMapping }[] = [];

  constructor(context: ImportContext) {
    this.context = context;
  }

  /**
   * Returns the service that `convert` describes, or a comment if it cannot be imported. If several services have the
   * same port, the first one gets it.
   *
   * @param convert returns the keys of the service, `ports` first
   */
  convert(
    head: Head,
    convert: (notes: Notes) => { ports: Entry & { value: readonly string[] }; keys: Entries },
  ): Converted {
    const notes = new Notes();
    try {
      const { ports, keys } = convert(notes);
      const mappings = ports.value.map((port) => this.#parse(port));
      const isOff = notes.reasons.length > 0 || keys["enabled"] !== undefined;
      if (!isOff) this.#claim(head, ports.value, mappings, notes);
      const isDisabled = notes.reasons.length > 0 && keys["enabled"] === undefined;
      const enabled = isDisabled ? { enabled: { value: false, note: notes.reasons.join("; ") } } : {};
      return this.#finished(head, notes.warnings, { ports, ...enabled, ...keys });
    } catch (error) {
      if (!(error instanceof NotImportedError || error instanceof UnitError)) throw error;
      return omitted(head, error.message);
    }
  }

  #finished({ label, name, place }: Head, warnings: readonly Warning[], keys: Entries): Converted {
    const remarks = [`${label}, ${placeOf(place)}`, ...warnings.map((warning) => `warning: ${warningLine(warning)}`)];
    return { draft: { name: this.#unusedName(name), remarks, keys }, warnings: labelled(label, place, warnings) };
  }

  /** @throws UnitError */
  #parse(text: string): PortMapping {
    const port = parsePort(text, this.context.names);
    if (port.count !== undefined) throw new UnitError(`"${text}" is not a single port`);
    return port;
  }

  #claim({ name, place }: Head, texts: readonly string[], ports: readonly PortMapping[], notes: Notes): void {
    for (const [index, port] of ports.entries()) {
      const other = this.#claimed.find((claimed) => clash(claimed.port, port));
      if (other === undefined) this.#claimed.push({ owner: name, port });
      else return notes.disable(place, `the port of "${texts[index]}" is used by service ${other.owner}`);
    }
  }

  /** Returns a valid name of wakeport.yaml that is not used yet and is similar to `wanted`. */
  #unusedName(wanted: string): string {
    const valid = wanted.replace(/[^a-zA-Z0-9_.-]/g, "-").replace(/^[^a-zA-Z0-9]+/, "") || "service";
    let name = valid;
    for (let count = 2; this.#names.has(name); count += 1) name = `${valid}-${count}`;
    this.#names.add(name);
    return name;
  }
}

function omitted({ label, name, place, lines }: Head, reason: string): Converted {
  const remarks = [`${label} (${placeOf(place)}) is not imported: ${reason}`, ...lines.map((line) => `    ${line}`)];
  return { draft: { name, remarks }, warnings: [{ place, message: `${label} is not imported: ${reason}` }] };
}

function labelled(label: string, place: Place, warnings: readonly Warning[]): Warning[] {
  return warnings.map((warning) => ({ place: warning.place ?? place, message: `${label}: ${warning.message}` }));
}

/** Returns undefined if no entry is defined. */
export function mappingOf(entries: Readonly<Record<string, Entry | undefined>>): Entries | undefined {
  const found = Object.entries(entries).filter((entry): entry is [string, Entry] => entry[1] !== undefined);
  return found.length === 0 ? undefined : Object.fromEntries(found);
}

/** Returns a section of a service, or no key if the section is empty. */
export function sectionOf(key: string, entries: Readonly<Record<string, Entry | undefined>> = {}): Entries {
  const value = mappingOf(entries);
  return value === undefined ? {} : { [key]: { value } };
}

/** Returns the limits for a rate of xinetd or inetd. wakeport's default gives one source half of the rate. */
export function ratesOf(rate: Entry | undefined): Record<string, Entry> {
  return rate === undefined
    ? {}
    : { rate, rate_per_source: { value: rate.value, note: "one source may use the whole rate" } };
}

/** @throws NotImportedError if wakeport has no such builtin */
export function builtinTarget(name: string, entry: Entry): Target {
  const names: readonly string[] = builtinNames;
  if (names.includes(name)) return { key: "builtin", entry };
  throw new NotImportedError(`wakeport has no builtin "${name}", only ${names.join(", ")}`);
}

export const UDP_NOT_SUPPORTED =
  'a UDP server that takes over the socket is not supported; use "process" for a server that listens itself';
