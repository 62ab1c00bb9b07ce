/** The form of xinetd.conf: entries with attributes, and files that include others. What the attributes mean is not asked. */
import type { Place, Warning } from "./draft.ts";
import { ImportError, reasonOf, type Sources } from "./sources.ts";

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
  /** What stands in it, as it is written. */
  readonly lines: readonly string[];
  /** Why xinetd drops the whole entry; the attributes are those before that. */
  readonly fault?: Warning;
}

/** Deeper than any real configuration; xinetd itself goes on until it runs out of something. */
const DEEPEST = 16;
const MAX_FILES = 1_000;
const MAX_ENTRIES = 10_000;

/**
 * Reads files, and folders as `includedir` does, with all that they include, in xinetd's order.
 *
 * @returns the entries as they come, and what was wrong with the form
 * @throws ImportError when one of `paths` cannot be read, or all of it is too much
 */
export function readXinetd(
  paths: readonly string[],
  sources: Sources,
): { entries: readonly XinetdEntry[]; warnings: readonly Warning[] } {
  const entries: XinetdEntry[] = [];
  const warnings: Warning[] = [];
  let files = 0;
  const readFile = (path: string, way: readonly string[]): void => {
    files += 1;
    if (files > MAX_FILES) throw new ImportError(`${path}: more than ${MAX_FILES} files`);
    const lines = sources.lines(path);
    for (const found of entriesOf(path, lines, warnings)) {
      if (!("include" in found)) entries.push(found);
      else include(found, [...way, path]);
      if (entries.length > MAX_ENTRIES) throw new ImportError(`${path}: more than ${MAX_ENTRIES} entries`);
    }
  };
  const readFolder = (folder: string, way: readonly string[]): void => {
    for (const name of folderNames(sources.list(folder))) {
      const path = `${folder}/${name}`;
      if (sources.kindOf(path) === "file") readFile(path, [...way, folder]);
      else warnings.push({ message: `${path} is no regular file: it is left out` });
    }
  };
  const include = ({ include: path, isFolder, place }: Include, way: readonly string[]): void => {
    if (way.includes(path) || way.length >= DEEPEST) {
      warnings.push({ place, message: `"${path}" includes itself in the end, and is not read again` });
      return;
    }
    try {
      if (isFolder) readFolder(path, way);
      else readFile(path, way);
    } catch (error) {
      if (error instanceof ImportError) throw error;
      const kind = isFolder ? "folder" : "file";
      warnings.push({ place, message: `the included ${kind} "${path}" cannot be read: ${reasonOf(error)}` });
    }
  };
  for (const given of paths) {
    const path = given.replace(/(?<=.)\/+$/, "");
    try {
      if (sources.kindOf(path) === "folder") readFolder(path, []);
      else readFile(path, []);
    } catch (error) {
      throw error instanceof ImportError ? error : new ImportError(`${path}: ${reasonOf(error)}`, { cause: error });
    }
  }
  return { entries, warnings };
}

/** Those that `includedir` reads: without a dot, not ending in "~", sorted by bytes. */
function folderNames(names: readonly string[]): string[] {
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

/** Reads line by line and does after a mistake what xinetd does, which is mostly to skip to the next "}". */
function* entriesOf(file: string, lines: readonly string[], warnings: Warning[]): Generator<XinetdEntry | Include> {
  const rest = lines
    .map((text, index): Line => ({ text, place: { file, line: index + 1 } }))
    .filter(({ text }) => /^\s*[^\s#]/.test(text))
    .values();
  const skip = (): string[] => {
    const skipped: string[] = [];
    for (const { text } of rest) {
      if (text.trim() === "}") break;
      skipped.push(text.trim());
    }
    return skipped;
  };
  for (const { text, place } of rest) {
    const [keyword = "", name] = wordsOf(text);
    if (keyword === "include" || keyword === "includedir") {
      if (name !== undefined) yield { include: name, isFolder: keyword === "includedir", place };
      else warnings.push({ place, message: `"${keyword}" without a path` });
      if (name === undefined) skip();
      continue;
    }
    const isService = keyword === "service";
    if ((!isService && keyword !== "defaults") || (isService && name === undefined)) {
      const expected = isService ? '"service" without a name' : `"${keyword}" is no entry of xinetd.conf`;
      warnings.push({ place, message: `${expected}: skipped to the next line with only "}"` });
      skip();
      continue;
    }
    const opening = rest.next();
    if (opening.done || opening.value.text.trim() !== "{") {
      const message = `after this line one with only "{" is missing: xinetd skips to the next line with only "}"`;
      const lines = opening.done ? [] : [opening.value.text.trim(), ...skip()];
      yield {
        kind: isService ? "service" : "defaults",
        name: name ?? "",
        place,
        attributes: [],
        lines,
        fault: { place, message },
      };
      continue;
    }
    yield bodyOf({ kind: isService ? "service" : "defaults", name: isService ? (name ?? "") : "", place }, rest, skip);
  }
}

function bodyOf(
  head: Pick<XinetdEntry, "kind" | "name" | "place">,
  rest: Iterable<Line>,
  skip: () => string[],
): XinetdEntry {
  const attributes: Attribute[] = [];
  const lines: string[] = [];
  for (const { text, place } of rest) {
    if (text.trim() === "}") return { ...head, attributes, lines };
    lines.push(text.trim());
    const found = attributeOf(text, place);
    if (typeof found === "string") {
      const fault = { place, message: `${found}: xinetd drops the whole entry` };
      return { ...head, attributes, lines: [...lines, ...skip()], fault };
    }
    attributes.push(found);
  }
  const message = 'the closing "}" is missing: xinetd drops the whole entry';
  return { ...head, attributes, lines, fault: { place: head.place, message } };
}

/** `name = value value`; the blank before the operator is needed, one after it is not. @returns what is wrong, as text */
function attributeOf(text: string, place: Place): Attribute | string {
  const [, name = "", blank = "", rest = ""] = /^\s*([^\s=]*)(\s*)(.*)$/s.exec(text) ?? [];
  if (blank === "" && rest.startsWith("=")) return `"${name}" needs a space before "="`;
  const operator = ["=", "+=", "-="].find((one) => rest.startsWith(one));
  if (operator === undefined) return `after "${name}" comes no "=", "+=" or "-="`;
  return { place, name, operator: operator as Operator, values: wordsOf(rest.slice(operator.length)) };
}

function wordsOf(text: string): string[] {
  // A carriage return, of a file that was edited on Windows, belongs to nothing.
  return text
    .replace(/\r$/, "")
    .split(/[ \t]+/)
    .filter(Boolean);
}
