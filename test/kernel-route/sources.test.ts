import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseNetwork } from "../../src/config/values/networks.ts";
import { sourcesOf } from "../../src/kernel-route/sources.ts";

const networks = (...texts: string[]) => texts.map(parseNetwork);

suite("sourcesOf()", () => {
  test("allows all sources without rules", () => {
    assert.deepEqual(sourcesOf({ deny: [] }, "ipv4"), { allowed: ["0.0.0.0/0"], denied: [] });
    assert.deepEqual(sourcesOf({ deny: [] }, "ipv6"), { allowed: ["::/0"], denied: [] });
  });

  test("returns the networks of one family, each once and none within another one", () => {
    const allow = networks("10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "192.0.2.7", "fd00::/8");
    const deny = networks("10.9.0.1", "10.9.0.0/24", "fd00::1");
    assert.deepEqual(sourcesOf({ allow, deny }, "ipv4"), {
      allowed: ["10.0.0.0/8", "192.0.2.7"],
      denied: ["10.9.0.0/24"],
    });
    assert.deepEqual(sourcesOf({ allow, deny }, "ipv6"), { allowed: ["fd00::/8"], denied: ["fd00::1"] });
  });

  test("allows no source of a family without an allowed network", () => {
    assert.deepEqual(sourcesOf({ allow: networks("10.0.0.0/8"), deny: [] }, "ipv6").allowed, []);
  });
});
