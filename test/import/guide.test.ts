/** The guide for people who come from xinetd leaves nothing out. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { attributeNames } from "../../src/import/xinetd-settings.ts";
import { importXinetd } from "../support/program/imported.ts";

const guide = readFileSync(path.join(import.meta.dirname, "../../docs/from-xinetd.md"), "utf8");

suite("docs/from-xinetd.md", () => {
  test("has a row for every attribute, and one only", () => {
    const table = guide.slice(guide.indexOf("\n## Attributes"), guide.indexOf("\n### Flags"));
    const rows = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
    assert.deepEqual(rows.toSorted(), [...attributeNames].toSorted());
  });

  test("shows what the importer makes of its example", () => {
    const example = /^service ftp\n\{[\s\S]*?^\}$/m.exec(guide)?.[0] ?? "";
    const shown = /^```yaml\n([\s\S]*?)^```$/m.exec(guide)?.[1] ?? "";
    assert.deepEqual(parse(shown), importXinetd({ x: example }).whole);
  });
});
