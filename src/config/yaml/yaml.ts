/** What is wrong with a file as YAML, before anybody asks what it means. */
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

/** Reads text as one YAML document. Of a document with problems nothing else is to be used. */
export function readYaml(text: string): { document: Document.Parsed; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    prettyErrors: false,
    lineCounter: lines,
    // Tags make other things of values than the schema expects, numbers as keys hide them from it.
    resolveKnownTags: false,
    stringKeys: true,
    // Compares each key with each other one: minutes for a file of 256 KiB. `duplicates` does not.
    uniqueKeys: false,
  });
  const faults = syntaxProblems(document, text, lines);
  if (faults.length > 0) return { document, problems: faults };
  return { document, problems: [...keyProblems(document), ...aliasProblems(document)] };
}

/** One a line, and not many: after the first mistake in the syntax most of what follows is its consequence. */
function syntaxProblems(document: Document.Parsed, text: string, lines: LineCounter): Problem[] {
  const problems = new Map<number, Problem>();
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    const [start, end] = pos;
    const { line } = lines.linePos(start);
    if (problems.has(line)) continue;
    const hint = hintFor(code, text.slice(Math.max(0, start - 1), start + 1), text.slice(start, end));
    problems.set(line, { message: wordsFor(code) ?? message, span: { start, end }, ...(hint && { hint }) });
    if (problems.size === MAX_SYNTAX_PROBLEMS) break;
  }
  return [...problems.values()];
}

function wordsFor(code: ErrorCode): string | undefined {
  if (code === "MULTIPLE_DOCS") return "the file holds several documents; only one is read";
  return code === "NON_STRING_KEY" ? "a key has to be text" : undefined;
}

/** @param line the character before the mistake and its first character @param mistake the marked text */
function hintFor(code: ErrorCode, line: string, mistake: string): string | undefined {
  switch (code) {
    case "MULTIPLE_DOCS":
      return 'remove the "---" and what follows';
    case "TAB_AS_INDENT":
      return "indent with spaces";
    case "BAD_ALIAS":
      return quotesFor("*");
    default:
      if (/^[\w-]+:[^\s:]/.test(mistake)) return "write a blank after the colon";
      return line.includes("${") || line.endsWith("$") ? 'between braces a variable needs quotes: "${VAR}"' : undefined;
  }
}

/** Names of hosts may begin so, and to YAML that is an alias. */
function quotesFor(text: string): string {
  return `if the "*" is part of a name, it needs quotes: "${text}"`;
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
    // Objects of JavaScript would take it for something else, silently.
    if (key.value === "__proto__") return [{ message: '"__proto__" cannot be a key', ...spanOf(key) }];
    const isNew = !seen.has(key.value);
    seen.add(key.value);
    return isNew ? [] : [{ message: `the key "${key.value}" is there twice`, ...spanOf(key) }];
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
