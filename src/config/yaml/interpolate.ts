import { type Document, isScalar, parseDocument, Scalar, visit } from "yaml";
import type { Problem } from "./config-error.ts";

/** `$$`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`. A `${` alone is an error. */
const REFERENCE = /\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?)-([^}]*))?\}|\{)/g;

/**
 * Replaces variables in the values of a document, in place, as Docker Compose does: `${VAR}`, `${VAR:-default}`, `$$`
 * for a dollar sign. Keys are unchanged. A variable never adds keys or list entries.
 *
 * @returns problems of variables without a value
 * @see https://docs.docker.com/reference/compose-file/interpolation/
 */
export function interpolate(document: Document, env: Readonly<Record<string, string | undefined>>): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || typeof node.value !== "string" || !node.value.includes("$")) return;
      const text = node.value.replace(
        REFERENCE,
        (whole, escaped?: string, name?: string, colon?: string, fallback?: string) => {
          if (escaped !== undefined) return "$";
          if (name === undefined) {
            problems.push({
              message: 'cannot read "${" here',
              hint: 'write "${VAR}", "${VAR:-default}", or "$$" for a dollar sign',
              ...spanOf(node),
            });
            return whole;
          }
          const value = env[name];
          if (value !== undefined && !(colon === ":" && value === "")) return value;
          if (fallback !== undefined) return fallback;
          problems.push({
            message: `variable "${name}" is not set`,
            hint: `set it, or give a default: "\${${name}:-…}"`,
            ...spanOf(node),
          });
          return whole;
        },
      );
      node.value = node.type === Scalar.PLAIN ? plainValue(text) : text;
    },
  });
  return problems;
}

/** `${X:-true}` without quotes is a boolean, as `true` is. */
function plainValue(text: string): unknown {
  const { contents, errors } = parseDocument(text);
  const isSimple = errors.length === 0 && isScalar(contents) && contents.type === Scalar.PLAIN;
  return isSimple && typeof contents.value !== "string" ? contents.value : text;
}

function spanOf(node: Scalar): Pick<Problem, "span"> {
  return node.range ? { span: { start: node.range[0], end: node.range[1] } } : {};
}
