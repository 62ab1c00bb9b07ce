import { type Document, isAlias, isCollection, isMap, isNode, isPair, isScalar, isSeq, type Node } from "yaml";
import type { Located, Problem, Span } from "./config-error.ts";

/** Returns the problem with its span: the key, else the value, else the nearest node around it. */
export function locate(document: Document, { path, key, message, hint }: Located): Problem {
  const span = key === undefined ? spanAt(document, path) : (keySpan(document, path, key) ?? spanAt(document, path));
  return { message, ...(span && { span }), ...(hint !== undefined && { hint }) };
}

function spanAt(document: Document, path: readonly PropertyKey[]): Span | undefined {
  let node: Node | null | undefined = document.contents;
  let span = node && !isCollection(node) ? spanOf(node) : undefined;
  for (const part of path) {
    const parent = resolve(document, node);
    span = keySpanIn(parent, String(part)) ?? span;
    node = child(parent, part);
    if (node && !isCollection(resolve(document, node))) span = spanOf(node) ?? span;
  }
  return span;
}

function keySpan(document: Document, path: readonly PropertyKey[], key: string): Span | undefined {
  let node: Node | null | undefined = document.contents;
  for (const part of path) node = child(resolve(document, node), part);
  return keySpanIn(resolve(document, node), key);
}

function keySpanIn(node: Node | null | undefined, key: string): Span | undefined {
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key);
  return isNode(pair?.key) ? spanOf(pair.key) : undefined;
}

function child(node: Node | null | undefined, part: PropertyKey): Node | null | undefined {
  const found: unknown = isMap(node) ? node.get(part, true) : isSeq(node) ? node.get(Number(part), true) : undefined;
  return isNode(found) ? found : undefined;
}

function resolve(document: Document, node: Node | null | undefined): Node | null | undefined {
  return isAlias(node) ? node.resolve(document) : node;
}

function spanOf(node: Node): Span | undefined {
  return node.range ? { start: node.range[0], end: node.range[1] } : undefined;
}
