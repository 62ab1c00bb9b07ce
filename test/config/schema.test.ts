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

/** All nested schemas with their places. */
function within(one: unknown, where = "wakeport.yaml"): (readonly [where: string, schema: Schema])[] {
  if (typeof one !== "object" || one === null) return [];
  const inner = Object.entries(one).flatMap(([key, value]) => within(value, `${where}.${key}`));
  return "type" in one && typeof one.type === "string" ? [[where, one as Schema], ...inner] : inner;
}

suite("jsonSchema()", () => {
  test("is draft-07 with a title", () => {
    assert.equal(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert.equal(schema["title"], "wakeport.yaml");
  });

  test("contains the sections, none of them required", () => {
    assert.deepEqual(Object.keys(schema.properties ?? {}).toSorted(), [
      "admin",
      "defaults",
      "docker",
      "log",
      "services",
      "shutdown",
    ]);
    // Labels may define the services.
    assert.equal(schema["required"], undefined);
  });

  test("allows no unknown keys", () => {
    const open = within(schema).filter(([, { type, properties, additionalProperties }]) => {
      return type === "object" && properties !== undefined && additionalProperties !== false;
    });
    assert.deepEqual(
      open.map(([where]) => where),
      [],
    );
  });

  test("describes the values in the file: durations are text", () => {
    const services = schema.properties?.["services"]?.additionalProperties as Schema;
    assert.equal(services.properties?.["idle_timeout"]?.type, "string");
    assert.ok(services.properties?.["idle_timeout"]?.["description"]);
  });
});
