import { ANY } from "../../net/hostname.ts";

/** Finds whom a name means: exact names go first, then the longest wildcard, then `*`. */
export class HostTable<T> {
  readonly #exact = new Map<string, T>();
  /** By what follows `*.`. */
  readonly #below = new Map<string, T>();
  #any: T | undefined;

  /** Where a pattern is there twice, the later one holds. */
  constructor(entries: Iterable<readonly [pattern: string, value: T]>) {
    for (const [pattern, value] of entries) {
      if (pattern === ANY) this.#any = value;
      else if (pattern.startsWith("*.")) this.#below.set(pattern.slice(2), value);
      else this.#exact.set(pattern, value);
    }
  }

  /** @param name as `readName` gives it; undefined for a client that says none */
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
