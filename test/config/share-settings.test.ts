import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { deserialize, serialize } from "node:v8";
import type { Config, Service } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { shareSettings } from "../../src/config/share-settings.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };
const text = `services:
  a: { ports: ["8001:80"], container: a, banner: { deny: "no\\n" }, access: { allow: [10.0.0.0/8] } }
  b: { ports: ["8002:80"], container: b, banner: { deny: "no\\n" }, access: { allow: [10.0.0.0/8] } }
  c: { ports: ["8003:80"], container: c, banner: { deny: "go\\n" }, access: { allow: [10.1.0.0/16] } }
`;

suite("shareSettings()", () => {
  const config: Config = parseConfig(Buffer.from(text), "wakeport.yaml", context);

  test("changes no value", () => {
    assert.deepStrictEqual(shareSettings(config), config);
  });

  test("makes equal settings one object, which stays one in a structured clone", () => {
    const { services }: Config = deserialize(serialize(shareSettings(config)));
    const [a, b, c] = services as [Service, Service, Service];
    assert.deepStrictEqual(services, config.services);
    for (const name of ["access", "banner", "limits", "ready", "udp", "hold"] as const) {
      assert.equal(a[name], b[name], name);
    }
    assert.notEqual(a.banner, c.banner);
    assert.notEqual(a.access, c.access);
    assert.equal(a.limits, c.limits);
  });
});
