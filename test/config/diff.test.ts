import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Config } from "../../src/config/config.ts";
import { changesBetween } from "../../src/config/diff.ts";
import { parseConfig } from "../../src/config/parse.ts";

function config(services: string, more = ""): Config {
  const text = `services: { ${services} }\n${more}`;
  return parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
}

/** Names of services by kind of change. */
function between(before: Config, after: Config): Record<string, unknown> {
  const { added, removed, changed, unchanged, afterRestart } = changesBetween(before, after);
  return {
    added: added.map(({ name }) => name),
    removed: removed.map(({ name }) => name),
    changed: changed.map(({ to }) => to.name),
    unchanged,
    afterRestart,
  };
}

const none = { added: [], removed: [], changed: [], unchanged: 1, afterRestart: [] };
const a = "a: { ports: 1, container: a }";

suite("changesBetween()", () => {
  test("reports no change for equal values, even in another syntax", () => {
    assert.deepEqual(between(config(a), config(a)), none);
    assert.deepEqual(between(config(a), config('a: { container: a, ports: ["1"], idle_timeout: 300s }')), none);
  });

  test("compares services by name", () => {
    const after = config("b: { ports: 1, container: a }");
    assert.deepEqual(between(config(a), after), { ...none, added: ["b"], removed: ["a"], unchanged: 0 });
  });

  test("reports a service as changed if any value differs, also by `defaults`", () => {
    const changed = { ...none, changed: ["a"], unchanged: 0 };
    assert.deepEqual(between(config(a), config("a: { ports: 2, container: a }")), changed);
    assert.deepEqual(between(config(a), config(a, "defaults: { idle_timeout: 1m }\n")), changed);
  });

  test("treats a disabled service as absent", () => {
    const off = config(`a: { ports: 1, container: a, enabled: false }, b: { ports: 2, container: b }`);
    const on = config(`${a}, b: { ports: 2, container: b }`);
    assert.deepEqual(between(off, on), { ...none, added: ["a"] });
    assert.deepEqual(between(on, off), { ...none, removed: ["a"] });
  });

  test("lists keys that need a restart", () => {
    const other = config(a, "log: { format: json }\ndocker: { discover: true, host: tcp://h }\n");
    assert.deepEqual(changesBetween(config(a), other).afterRestart, ["docker", "docker.discover", "log.format"]);
  });
});
