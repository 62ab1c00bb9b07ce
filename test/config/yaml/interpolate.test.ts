import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDocument } from "yaml";
import { interpolate } from "../../../src/config/yaml/interpolate.ts";

const env = { NAME: "vsftpd", PORT: "2121", ON: "true", EMPTY: "", YAML: "{ a: [1] }", DOLLAR: "${NAME}" };

function result(text: string): { readonly value: unknown; readonly problems: string[] } {
  const document = parseDocument(text);
  const problems = interpolate(document, env).map(({ message }) => message);
  return { value: document.toJS(), problems };
}

/** The value that `text` has as the value of a key. */
function interpolated(text: string): unknown {
  const { value, problems } = result(`key: ${text}\n`);
  assert.deepEqual(problems, []);
  return (value as { key: unknown }).key;
}

suite("interpolate()", () => {
  const values: Readonly<Record<string, unknown>> = {
    "${NAME}": "vsftpd",
    "a-${NAME}-b-${NAME}": "a-vsftpd-b-vsftpd",
    "${PORT}": 2121,
    '"${PORT}"': "2121",
    "'${PORT}'": "2121",
    "${PORT}:21": "2121:21",
    "${ON}": true,
    '"${ON}"': "true",
    "${EMPTY}": "",
    "${EMPTY:-else}": "else",
    "${EMPTY-else}": "",
    "${NOPE:-else}": "else",
    "${NOPE-else}": "else",
    "${NOPE:-}": "",
    "${NOPE:-5m}": "5m",
    "${NOPE:-7}": 7,
    "${NAME:-else}": "vsftpd",
    $$: "$",
    "$${NAME}": "${NAME}",
    "$$$${NAME}": "$${NAME}",
    "$NAME costs 5$": "$NAME costs 5$",
    "${YAML}": "{ a: [1] }",
    "${DOLLAR}": "${NAME}",
  };
  for (const [text, expected] of Object.entries(values)) {
    test(`replaces ${text} by ${JSON.stringify(expected)}`, () => assert.deepEqual(interpolated(text), expected));
  }

  test("replaces variables in all values, but not in keys", () => {
    const { value, problems } = result('a: ["${NAME}", { "${NAME}": "${PORT}" }]\n');
    assert.deepEqual(problems, []);
    assert.deepEqual(value, { a: ["vsftpd", { "${NAME}": "2121" }] });
  });

  test("reports each unset variable and leaves it unchanged", () => {
    const { value, problems } = result('a: "${A}-${NAME}-${B}"\n');
    assert.deepEqual(problems, ['variable "A" is not set', 'variable "B" is not set']);
    assert.deepEqual(value, { a: "${A}-vsftpd-${B}" });
  });

  for (const text of ["${", "${}", "${1A}", "${A B}", "${A:?must}", "${A:+other}"]) {
    test(`rejects ${text}`, () => {
      assert.deepEqual(result(`a: "${text}"\n`).problems, ['cannot read "${" here']);
    });
  }
});
