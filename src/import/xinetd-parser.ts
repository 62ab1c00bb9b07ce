/** Parses the syntax of xinetd.conf: entries with attributes, and includes. */
import type { Place, Warning } from "./draft.ts";
import { ImportError, reading, reasonOf, type Sources } from "./sources.ts";

export type Operator = "=" | "+=" | "-=";

/** One line of an entry: `only_from += 10.0.0.0 127.0.0.1`. */
export interface Attribute {
  readonly place: Place;
  readonly name: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

export interface XinetdEntry {
  readonly kind: "service" | "defaults";
  /** Empty for the defaults. */
  readonly name: string;
  readonly place: Place;
  readonly attributes: readonly Attribute[];
  /** The lines of the entry as they are written. */
  readonly lines: readonly string[];
  /** Why xinetd drops the whole entry. */
  readonly fault?: Warning;
}

const MAX_DEPTH = 16;
const MAX_FILES = 1_000;
const MAX_ENTRIES = 10_000;

export interface ParsedFiles {
  readonly entries: readonly XinetdEntry[];
  /** Mistakes of the syntax. */
  readonly warnings: readonly Warning[];
}

/**
 * Reads files, and folders as `includedir` does, with their includes, in xinetd's order.
 *
 * @throws ImportError if one of `paths` cannot be read, or if there are too many files or entries
 */
export function readXinetd(paths: readonly string[], sources: Sources): ParsedFiles {
  const reader = new Reader(sources);
  for (const given of paths) {
    const path = given.replace(/(?<=.)\/+$/, "");
    reading(path, () => reader.read(path, sources.kindOf(path) === "folder", []));
  }
  return reader;
}

class Reader implements ParsedFiles {
  readonly entries: XinetdEntry[] = [];
  readonly warnings: Warning[] = [];
  readonly #sources: Sources;
  #files = 0;

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  /** @param includers the files and folders that include this path */
  read(path: string, isFolder: boolean, includers: readonly string[]): void {
    if (isFolder) this.#readFolder(path, includers);
    else this.#readFile(path, includers);
  }

  #readFolder(folder: string, includers: readonly string[]): void {
    for (const name of includedNames(this.#sources.list(folder))) {
      const path = `${folder}/${name}`;
      if (this.#sources.kindOf(path) === "file") this.#readFile(path, [...includers, folder]);
      else this.warnings.push({ message: `${path} is not a regular file and is ignored` });
    }
  }

  #readFile(path: string, includers: readonly string[]): void {
    this.#files += 1;
    if (this.#files > MAX_FILES) throw new ImportError(`${path}: more than ${MAX_FILES} files`);
    for (const item of parseLines(path, this.#sources.lines(path), this.warnings)) {
      if ("include" in item) this.#include(item, [...includers, path]);
      else this.entries.push(item);
      if (this.entries.length > MAX_ENTRIES) throw new ImportError(`${path}: more than ${MAX_ENTRIES} entries`);
    }
  }

  #include({ include: path, isFolder, place }: Include, includers: readonly string[]): void {
    if (includers.includes(path) || includers.length >= MAX_DEPTH) {
      this.warnings.push({ place, message: `"${path}" includes itself and is not read again` });
      return;
    }
    try {
      this.read(path, isFolder, includers);
    } catch (error) {
      if (error instanceof ImportError) throw error;
      this.warnings.push({ place, message: `cannot read the included "${path}": ${reasonOf(error)}` });
    }
  }
}

/** Returns the names that `includedir` reads: without a dot, not ending in "~", sorted by bytes. */
function includedNames(names: readonly string[]): string[] {
  return names
    .filter((name) => !name.includes(".") && !name.endsWith("~"))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

interface Include {
  readonly include: string;
  readonly isFolder: boolean;
  readonly place: Place;
}

interface Line {
  readonly place: Place;
  readonly text: string;
}

/** After most mistakes, xinetd skips to the next line that contains only "}". So does this function. */
function* parseLines(file: string, lines: readonly string[], warnings: Warning[]): Generator<XinetdEntry | Include> {
  const rest = lines
    .map((text, index): Line => ({ text: text.trim(), place: { file, line: index + 1 } }))
    .filter(({ text }) => /^[^#]/.test(text))
    .values();
  for (const { text, place } of rest) {
    const [keyword = "", name] = wordsOf(text);
    const isInclude = keyword === "include" || keyword === "includedir";
    if (isInclude && name !== undefined) yield { include: name, isFolder: keyword === "includedir", place };
    else if (keyword === "service" && name !== undefined) yield parseEntry({ kind: keyword, name, place }, rest);
    else if (keyword === "defaults") yield parseEntry({ kind: keyword, name: "", place }, rest);
    else {
      const isKnown = isInclude || keyword === "service";
      const what = isKnown ? `"${keyword}" has no ${isInclude ? "path" : "name"}` : `"${keyword}" is not a keyword`;
      warnings.push({ place, message: `${what}: skipped to the next line that contains only "}"` });
      skipped(rest);
    }
  }
}

function parseEntry(
  head: Pick<XinetdEntry, "kind" | "name" | "place">,
  rest: Iterator<Line> & Iterable<Line>,
): XinetdEntry {
  const attributes: Attribute[] = [];
  const lines: string[] = [];
  const dropped = (place: Place, message: string): XinetdEntry => {
    const fault = { place, message: `${message}: xinetd drops the whole entry` };
    return { ...head, attributes, lines: [...lines, ...skipped(rest)], fault };
  };
  const opening = rest.next();
  if (opening.done || opening.value.text !== "{") {
    if (!opening.done) lines.push(opening.value.text);
    return dropped(head.place, 'the next line must contain only "{"');
  }
  for (const { text, place } of rest) {
    if (text === "}") return { ...head, attributes, lines };
    lines.push(text);
    const attribute = parseAttribute(text, place);
    if (typeof attribute === "string") return dropped(place, attribute);
    attributes.push(attribute);
  }
  return dropped(head.place, 'the closing "}" is missing');
}

/** Returns the lines up to the next "}". */
function skipped(rest: Iterable<Line>): string[] {
  const lines: string[] = [];
  for (const { text } of rest) {
    if (text === "}") break;
    lines.push(text);
  }
  return lines;
}

/** `name = value value`. xinetd requires a blank before the operator, but not after it. @returns an error as text */
function parseAttribute(text: string, place: Place): Attribute | string {
  const [, name = "", blank = "", rest = ""] = /^([^\s=]*)(\s*)(.*)$/s.exec(text) ?? [];
  if (blank === "" && rest.startsWith("=")) return `"${name}" needs a space before "="`;
  const operator = (["=", "+=", "-="] as const).find((candidate) => rest.startsWith(candidate));
  if (operator === undefined) return `"${name}" is not followed by "=", "+=" or "-="`;
  return { place, name, operator, values: wordsOf(rest.slice(operator.length)) };
}

function wordsOf(text: string): string[] {
  return text.split(/[ \t]+/).filter(Boolean);
}
