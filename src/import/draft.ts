/** A wakeport.yaml that is being made of somebody else's configuration, with remarks on where everything came from. */
import { Document, isCollection, isNode, isScalar, type Node, Pair, Scalar, YAMLMap } from "yaml";

/** A line of a file. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

/** What somebody should know about the import. */
export interface Warning {
  readonly place?: Place;
  readonly message: string;
}

export type Plain = string | number | boolean | readonly (string | number)[];

/** A value with the remark that stands behind it: where it came from. */
export interface Entry {
  readonly value: Plain | Entries;
  readonly note?: string;
}

export interface Entries {
  readonly [key: string]: Entry;
}

/** A service of the file to be; or, without keys, one that cannot be had here, of which only the remarks stay. */
export interface ServiceDraft {
  readonly name: string;
  readonly remarks: readonly string[];
  readonly keys?: Entries;
}

export interface Draft {
  /** At the top of the file. */
  readonly remarks: readonly string[];
  /** Other sections than `services`. */
  readonly sections: Entries;
  readonly services: readonly ServiceDraft[];
  readonly warnings: readonly Warning[];
}

/** `file:line` */
export function placeOf({ file, line }: Place): string {
  return `${file}:${line}`;
}

/** A warning in one line, as compilers write theirs. */
export function warningLine({ place, message }: Warning): string {
  return oneLine(place === undefined ? message : `${placeOf(place)}: ${message}`);
}

/** Writes the draft as YAML. */
export function renderDraft({ remarks, sections, services }: Draft): string {
  const root = new YAMLMap();
  for (const [key, entry] of Object.entries(sections)) root.items.push(pairOf(key, entry));
  root.items.push(new Pair(new Scalar("services"), servicesNode(services)));
  const document = new Document(root);
  document.commentBefore = comment(remarks);
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

function servicesNode(services: readonly ServiceDraft[]): YAMLMap {
  const map = new YAMLMap();
  let pending: string[] = [];
  for (const { name, remarks, keys } of services) {
    // What is only a remark is set off from the next service.
    pending.push(...remarks, ...(keys === undefined ? [""] : []));
    if (keys === undefined) continue;
    const pair = pairOf(name, { value: keys });
    if (pending.length > 0) pair.key.commentBefore = comment(pending);
    pair.key.spaceBefore = map.items.length > 0;
    pending = [];
    map.items.push(pair);
  }
  if (map.items.length === 0) map.flow = true;
  if (pending.length > 0) map.comment = comment(pending).trimEnd();
  return map;
}

function pairOf(key: string, { value, note }: Entry): Pair<Scalar, Node> {
  const node = nodeOf(value);
  const name = new Scalar(key);
  const remark = note === undefined ? undefined : ` ${oneLine(note)}`;
  if (remark !== undefined && (isScalar(node) || (isCollection(node) && node.flow))) node.comment = remark;
  else if (remark !== undefined) name.commentBefore = remark;
  return new Pair(name, node);
}

function nodeOf(value: Plain | Entries): Node {
  if (typeof value !== "object") return scalarOf(value);
  if (isList(value)) {
    const list = new Document([]).createNode(value.map((one) => (typeof one === "string" ? escaped(one) : one)));
    if (!isNode(list) || !isCollection(list)) throw new TypeError("a list is no collection");
    list.flow = true;
    return list;
  }
  const map = new YAMLMap();
  for (const [key, entry] of Object.entries(value)) map.items.push(pairOf(key, entry));
  return map;
}

function isList(value: readonly (string | number)[] | Entries): value is readonly (string | number)[] {
  return Array.isArray(value);
}

function scalarOf(value: string | number | boolean): Scalar {
  if (typeof value !== "string") return new Scalar(value);
  const scalar = new Scalar(escaped(value));
  // Words that other readers of YAML take for something else ("027" for a number, "no" for false) are quoted.
  if (/^[\d.:+-]+$|^(y|n|yes|no|on|off)$/i.test(value)) scalar.type = Scalar.QUOTE_DOUBLE;
  return scalar;
}

/** `$` begins a variable in wakeport.yaml. What is meant as one is written by `variable`. */
function escaped(text: string): string {
  return text.replaceAll("$", "$$$$").replaceAll(VARIABLE, "$");
}

/** No text of a configuration holds it: they are cut at NUL. */
const VARIABLE = "\0";

/** The value that a variable of wakeport's environment has when the file is read; nothing where it has none. */
export function variable(name: string): string {
  return `${VARIABLE}{${name}:-}`;
}

function comment(lines: readonly string[]): string {
  return lines.map((line) => (line === "" ? "" : ` ${oneLine(line)}`)).join("\n");
}

/** What would end a comment, or do worse to a terminal, is shown as a space. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\uFFFE|\uFFFF/gu, " ").trimEnd();
}
