import type { Notes } from "./conversion.ts";
import { type Entry, type Place, type Plain, placeOf } from "./draft.ts";
import type { Setting, Settings } from "./xinetd-attributes.ts";

/** The attributes of one service. Attributes that are never read are reported as not converted. */
export class XinetdAttributes {
  readonly notes: Notes;
  readonly #settings: Settings;
  readonly #taken = new Set<string>();

  constructor(settings: Settings, notes: Notes) {
    this.#settings = settings;
    this.notes = notes;
  }

  take(name: string): Setting | undefined {
    this.#taken.add(name);
    return this.#settings.get(name);
  }

  /** Returns the values of an attribute; empty if the attribute is not set. */
  words(name: string): string[] {
    return this.take(name)?.parts.map(({ text }) => text) ?? [];
  }

  placeOf(name: string): Place | undefined {
    return this.take(name)?.places[0];
  }

  /** Warns with the place of an attribute. */
  warn(name: string, message: string): void {
    this.notes.warn(this.placeOf(name), message);
  }

  /** Imports the service with `enabled: false`, with the place of an attribute. */
  disable(name: string, reason: string): void {
    this.notes.disable(this.placeOf(name), reason);
  }

  /** Returns `value # only_from, file:12, file:13`. */
  entry(names: string, value: Plain, remark = ""): Entry {
    const settings = names.split(", ").flatMap((name) => this.take(name.replace(/ .*/, "")) ?? []);
    const places = new Set(settings.flatMap((setting) => setting.places.map(placeOf)));
    const origin = settings.length === 0 ? "xinetd's default" : names;
    return { value, note: [origin, ...places, remark].filter(Boolean).join(", ") };
  }

  /** Returns the entry of an attribute with one value, or undefined if the attribute is not set. */
  plain(name: string): Entry | undefined {
    const [word] = this.words(name);
    return word === undefined ? undefined : this.entry(name, word);
  }

  /** Warns of each attribute that was not read. */
  warnOfUnconverted(): void {
    for (const [name, { parts, places }] of this.#settings) {
      if (this.#taken.has(name)) continue;
      this.notes.warn(places[0], `not converted: ${name} = ${parts.map(({ text }) => text).join(" ")}`);
    }
  }
}
