/** Parses YAML and reports syntax problems. */
import {
  type Document,
  type ErrorCode,
  isAlias,
  isScalar,
  LineCounter,
  parseDocument,
  type Scalar,
  visit,
  type YAMLMap,
} from "yaml";
import type { Problem, Span } from "./config-error.ts";

export const MAX_ALIASES = 100;
const MAX_SYNTAX_PROBLEMS = 5;

/** Parses one YAML document. If there are problems, the document must not be used. */
export function parseYaml(text: string): { document: Document.Parsed; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    prettyErrors: false,
    lineCounter: lines,
    // Tags change the types of values, and keys that are numbers are lost to the schema.
    resolveKnownTags: false,
    stringKeys: true,
    // The check of the parser is quadratic: minutes for a file of 256 KiB. `duplicates` is linear.
    uniqueKeys: false,
  });
  const syntax = syntaxProblems(document, text, lines);
  if (syntax.length > 0) return { document, problems: syntax };
  const aliases = text.includes("*") ? aliasProblems(document) : [];
  return { document, problems: [...keyProblems(document), ...aliases] };
}

/** Returns one problem for each line, at most five: later ones are usually consequences of the first. */
function syntaxProblems(document: Document.Parsed, text: string, lines: LineCounter): Problem[] {
  const problems = new Map<number, Problem>();
  for (const { code, message: theirs, pos } of [...document.errors, ...document.warnings]) {
    const [start, end] = pos;
    const { line } = lines.linePos(start);
    if (problems.has(line)) continue;
    const message = messageFor(code) ?? beginLower(theirs);
    const hint = message.endsWith("at the same column")
      ? "indent keys of the same level by the same number of spaces"
      : hintFor(code, text.slice(Math.max(0, start - 1), start + 1), text.slice(start, end));
    problems.set(line, { message, span: { start, end }, ...(hint && { hint }) });
    if (problems.size === MAX_SYNTAX_PROBLEMS) break;
  }
  return [...problems.values()];
}

function messageFor(code: ErrorCode): string | undefined {
  if (code === "MULTIPLE_DOCS") return "the file contains several documents; only one is allowed";
  return code === "NON_STRING_KEY" ? "a key must be text" : undefined;
}

/** Messages begin in lower case. Those of the parser do not, and none begins with a name or an acronym. */
function beginLower(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

/** @param start the character before the error and its first character @param marked the marked text */
function hintFor(code: ErrorCode, start: string, marked: string): string | undefined {
  switch (code) {
    case "MULTIPLE_DOCS":
      return 'remove the "---" and what follows';
    case "TAB_AS_INDENT":
      return "indent with spaces";
    case "BAD_ALIAS":
      return quotesFor("*");
    default:
      if (/^[\w-]+:[^\s:]/.test(marked)) return "write a space after the colon";
      return start.includes("${") || start.endsWith("$")
        ? 'write the variable in quotes inside braces: "${VAR}"'
        : undefined;
  }
}

/** A host pattern may begin with "*", which is an alias in YAML. */
function quotesFor(text: string): string {
  return `if "*" is part of a name, write quotes: "${text}"`;
}

function keyProblems(document: Document.Parsed): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Map(_key, map) {
      problems.push(...duplicates(map));
    },
  });
  return problems;
}

function duplicates(map: YAMLMap): Problem[] {
  const seen = new Set<unknown>();
  const keys = map.items.map(({ key }) => key).filter((key) => isScalar(key));
  return keys.flatMap((key) => {
    // An assignment of this key would set the prototype of the object.
    if (key.value === "__proto__") return [{ message: '"__proto__" cannot be a key', ...spanOf(key) }];
    const isNew = !seen.has(key.value);
    seen.add(key.value);
    return isNew ? [] : [{ message: `duplicate key "${key.value}"`, ...spanOf(key) }];
  });
}

function aliasProblems(document: Document.Parsed): Problem[] {
  const anchors = new Set<string>();
  const problems: Problem[] = [];
  let count = 0;
  visit(document, {
    Node(_key, node) {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.add(node.anchor);
        return;
      }
      count += 1;
      if (!anchors.has(node.source)) {
        const message = `there is no anchor "&${node.source}" before this alias`;
        problems.push({ message, ...spanOf(node), hint: quotesFor(`*${node.source}`) });
      }
      if (count <= MAX_ALIASES) return;
      problems.push({ message: `more than ${MAX_ALIASES} aliases`, ...spanOf(node) });
      return visit.BREAK;
    },
  });
  return problems;
}

function spanOf({ range }: Pick<Scalar, "range">): { span?: Span } {
  return range ? { span: { start: range[0], end: range[1] } } : {};
}
