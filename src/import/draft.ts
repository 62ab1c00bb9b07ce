/** A wakeport.yaml that is made from another configuration, with comments that name the origin of each key. */
import { Document, isCollection, isNode, isScalar, type Node, Pair, Scalar, YAMLMap } from "yaml";

/** A line of a file. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

export interface Warning {
  readonly place?: Place;
  readonly message: string;
}

export type Plain = string | number | boolean | readonly (string | number)[];

/** A value with its comment. */
export interface Entry {
  readonly value: Plain | Entries;
  readonly note?: string;
}

export interface Entries {
  readonly [key: string]: Entry;
}

/** A service. Without keys it is not imported, and only its comments are written. */
export interface ServiceDraft {
  readonly name: string;
  readonly remarks: readonly string[];
  readonly keys?: Entries;
}

export interface Draft {
  /** Comments at the top of the file. */
  readonly remarks: readonly string[];
  /** Sections other than `services`. */
  readonly sections: Entries;
  readonly services: readonly ServiceDraft[];
  readonly warnings: readonly Warning[];
}

/** `file:line` */
export function placeOf({ file, line }: Place): string {
  return `${file}:${line}`;
}

/** `file:line: message`, the form of compiler warnings. */
export function warningLine({ place, message }: Warning): string {
  return oneLine(place === undefined ? message : `${placeOf(place)}: ${message}`);
}

/** Returns the draft as YAML. */
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
    // An empty line separates the comments of a service that is not imported from the next service.
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
    const items = value.map((item) => (typeof item === "string" ? escaped(item) : item));
    const list = new Document([]).createNode(items);
    if (!isNode(list) || !isCollection(list)) throw new TypeError("a list is not a collection");
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
  // Quotes strings that other YAML readers convert: "027" to a number, "no" to false.
  if (/^[\d.:+-]+$|^(y|n|yes|no|on|off)$/i.test(value)) scalar.type = Scalar.QUOTE_DOUBLE;
  return scalar;
}

/** Escapes `$`, which begins a variable in wakeport.yaml, except in the result of `variable`. */
function escaped(text: string): string {
  return text.replaceAll("$", "$$$$").replaceAll(VARIABLE, "$");
}

/** The texts of a configuration contain no NUL, because lines end there. */
const VARIABLE = "\0";

/** Returns a reference to an environment variable of wakeport. Its value is empty if the variable is not set. */
export function variable(name: string): string {
  return `${VARIABLE}{${name}:-}`;
}

function comment(lines: readonly string[]): string {
  return lines.map((line) => (line === "" ? "" : ` ${oneLine(line)}`)).join("\n");
}

/** Replaces characters that end a comment or control a terminal by spaces. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|\uFFFE|\uFFFF/gu, " ").trimEnd();
}
