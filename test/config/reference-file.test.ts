/** Checks that the reference configuration is valid and complete, and contains the defaults. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { jsonSchema } from "../../src/config/schema.ts";

const file = path.join(import.meta.dirname, "../../compose/wakeport.reference.yaml");
const bytes = readFileSync(file);
const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

/** All keys of the schema. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const own = "properties" in schema ? Object.keys(schema.properties as object) : [];
  return [...own, ...Object.values(schema).flatMap(keysOf)];
}

/** The default of each key, wherever it is. */
function defaultsOf(schema: unknown): Record<string, unknown> {
  if (typeof schema !== "object" || schema === null) return {};
  const own = Object.entries("properties" in schema ? (schema.properties as object) : {});
  const defaults = own.flatMap(([key, value]) => ("default" in value ? [[key, value.default]] : []));
  return Object.assign({}, ...Object.values(schema).map(defaultsOf), Object.fromEntries(defaults));
}

suite("compose/wakeport.reference.yaml", () => {
  test("is valid", () => {
    const { services } = parseConfig(bytes, file, context);
    assert.deepEqual(
      services.map(({ name }) => name),
      [
        "ftp",
        "api",
        "classic",
        "search",
        "worker",
        "dns",
        "docs",
        "legacy",
        "ping",
        "trap",
        "app",
        "other-sites",
        "web",
      ],
    );
  });

  test("contains all keys of the schema", () => {
    const missing = new Set(keysOf(jsonSchema()).filter((key) => !new RegExp(`\\b${key}:`).test(bytes.toString())));
    assert.deepEqual([...missing], []);
  });

  test("contains the defaults of the schema", () => {
    const checked = Object.entries(defaultsOf(jsonSchema())).flatMap(([key, value]) => {
      const [, written] = new RegExp(`^ *${key}: .*# default: (\\S+)$`, "m").exec(bytes.toString()) ?? [];
      if (written === undefined) return [];
      assert.equal(written, String(value), key);
      return [key];
    });
    assert.ok(checked.length >= 25, checked.join(", "));
  });
});
