import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { jsonSchema } from "../../src/config/schema.ts";

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: false | Schema;
  readonly [keyword: string]: unknown;
}

const schema = jsonSchema() as Schema;

/** All schemas within one, each with where it is. */
function within(one: unknown, where = "wakeport.yaml"): (readonly [where: string, schema: Schema])[] {
  if (typeof one !== "object" || one === null) return [];
  const inner = Object.entries(one).flatMap(([key, value]) => within(value, `${where}.${key}`));
  return "type" in one && typeof one.type === "string" ? [[where, one as Schema], ...inner] : inner;
}

suite("jsonSchema()", () => {
  test("is draft-07, and has a title", () => {
    assert.equal(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert.equal(schema["title"], "wakeport.yaml");
  });

  test("knows the sections, and asks for none of them", () => {
    assert.deepEqual(Object.keys(schema.properties ?? {}).toSorted(), [
      "admin",
      "defaults",
      "docker",
      "log",
      "services",
      "shutdown",
    ]);
    // Labels may make them.
    assert.equal(schema["required"], undefined);
  });

  test("allows no unknown keys anywhere", () => {
    const open = within(schema).filter(([, { type, properties, additionalProperties }]) => {
      return type === "object" && properties !== undefined && additionalProperties !== false;
    });
    assert.deepEqual(
      open.map(([where]) => where),
      [],
    );
  });

  test("describes a file, not what becomes of it: durations are text there", () => {
    const services = schema.properties?.["services"]?.additionalProperties as Schema;
    assert.equal(services.properties?.["idle_timeout"]?.type, "string");
    assert.ok(services.properties?.["idle_timeout"]?.["description"]);
  });
});
