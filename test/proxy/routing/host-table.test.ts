import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readName } from "../../../src/net/hostname.ts";
import { HostTable } from "../../../src/proxy/routing/host-table.ts";

suite("HostTable", () => {
  const table = new HostTable([
    ["app.test", "exact"],
    ["*.app.test", "below app"],
    ["*.test", "below test"],
    ["deep.a.app.test", "deep"],
  ]);
  const withAny = new HostTable([
    ["app.test", "exact"],
    ["*", "any"],
  ]);
  const cases: readonly [name: string | undefined, found: string | undefined, orAny: string][] = [
    ["app.test", "exact", "exact"],
    ["www.app.test", "below app", "any"],
    ["a.b.app.test", "below app", "any"],
    ["deep.a.app.test", "deep", "any"],
    ["other.test", "below test", "any"],
    ["test", undefined, "any"],
    ["xapp.test", "below test", "any"],
    ["app.test.org", undefined, "any"],
    ["10.0.0.1", undefined, "any"],
    ["[::1]", undefined, "any"],
    [undefined, undefined, "any"],
  ];
  for (const [name, found, orAny] of cases) {
    test(`find() returns ${found ?? "undefined"} for ${name ?? "no name"}`, () => {
      assert.equal(table.find(name), found);
      assert.equal(withAny.find(name), orAny);
    });
  }
});

suite("readName()", () => {
  const names: Readonly<Record<string, string | undefined>> = {
    "App.Test": "app.test",
    "app.test.": "app.test",
    app: "app",
    "my_app.local": "my_app.local",
    "_acme.app.test": "_acme.app.test",
    "127.0.0.1": "127.0.0.1",
    "xn--bcher-kva.test": "xn--bcher-kva.test",
    [`${"a".repeat(63)}.test`]: `${"a".repeat(63)}.test`,
    [`${"a".repeat(64)}.test`]: undefined,
    [`${"a.".repeat(127)}a`]: undefined,
    "": undefined,
    ".": undefined,
    "app..test": undefined,
    "app.test..": undefined,
    ".app.test": undefined,
    "-app.test": undefined,
    "app-.test": undefined,
    "*.app.test": undefined,
    "b\u00fccher.test": undefined,
    "\u212aelvin.test": undefined,
    "app.test\u0000": undefined,
    "app test": undefined,
    "app.test:80": undefined,
  };
  for (const [text, name] of Object.entries(names)) {
    test(`${JSON.stringify(text.slice(0, 30))} is ${name?.slice(0, 30) ?? "not a valid name"}`, () => {
      assert.equal(readName(text), name);
    });
  }
});
