/** Whom a name means. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { readName } from "../../../src/net/hostname.ts";
import { HostTable } from "../../../src/proxy/routing/host-table.ts";

suite("Directory", () => {
  const directory = new HostTable([
    ["app.test", "exact"],
    ["*.app.test", "below app"],
    ["*.test", "below test"],
    ["deep.a.app.test", "deep"],
  ]);
  const open = new HostTable([
    ["app.test", "exact"],
    ["*", "anybody"],
  ]);
  const cases: readonly [name: string | undefined, found: string | undefined, orAnybody: string][] = [
    ["app.test", "exact", "exact"],
    ["www.app.test", "below app", "anybody"],
    ["a.b.app.test", "below app", "anybody"],
    ["deep.a.app.test", "deep", "anybody"],
    ["other.test", "below test", "anybody"],
    ["test", undefined, "anybody"],
    ["xapp.test", "below test", "anybody"],
    ["app.test.org", undefined, "anybody"],
    ["10.0.0.1", undefined, "anybody"],
    ["[::1]", undefined, "anybody"],
    [undefined, undefined, "anybody"],
  ];
  for (const [name, found, orAnybody] of cases) {
    test(`${name ?? "no name"} is ${found ?? "nobody's"}`, () => {
      assert.equal(directory.find(name), found);
      assert.equal(open.find(name), orAnybody);
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
    test(`${JSON.stringify(text.slice(0, 30))} is ${name?.slice(0, 30) ?? "no name"}`, () => {
      assert.equal(readName(text), name);
    });
  }
});
