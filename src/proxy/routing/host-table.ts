import { ANY } from "../../net/hostname.ts";

/** Finds the value for a host name: an exact name wins, then the longest wildcard, then `*`. */
export class HostTable<T> {
  readonly #exact = new Map<string, T>();
  /** Wildcards, by the part after `*.`. */
  readonly #below = new Map<string, T>();
  #any: T | undefined;

  /** If a pattern occurs twice, the later entry wins. */
  constructor(entries: Iterable<readonly [pattern: string, value: T]>) {
    for (const [pattern, value] of entries) {
      if (pattern === ANY) this.#any = value;
      else if (pattern.startsWith("*.")) this.#below.set(pattern.slice(2), value);
      else this.#exact.set(pattern, value);
    }
  }

  /** @param name a result of `readName`; undefined if the client sent no name */
  find(name: string | undefined): T | undefined {
    if (name === undefined) return this.#any;
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
      const found = this.#below.get(name.slice(dot + 1));
      if (found !== undefined) return found;
    }
    return this.#any;
  }
}
