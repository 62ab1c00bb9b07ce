/** Checks that the pages about xinetd are complete and show what the importer writes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { attributeNames } from "../../src/import/xinetd-attributes.ts";
import { importXinetd } from "../support/import/imported.ts";

const read = (page: string): string => readFileSync(path.join(import.meta.dirname, "../../docs", page), "utf8");

suite("pages about xinetd", () => {
  test("xinetd-attributes.md has one row for each attribute", () => {
    const page = read("xinetd-attributes.md");
    const table = page.slice(page.indexOf("\n## Attributes"), page.indexOf("\n### Flags"));
    const rows = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
    assert.deepEqual(rows.toSorted(), [...attributeNames].toSorted());
  });

  test("from-xinetd.md shows the importer's output for its example", () => {
    const guide = read("from-xinetd.md");
    const example = /^service ftp\n\{[\s\S]*?^\}$/m.exec(guide)?.[0] ?? "";
    const shown = /^```yaml\n([\s\S]*?)^```$/m.exec(guide)?.[1] ?? "";
    assert.deepEqual(parse(shown), importXinetd({ x: example }).whole);
  });
});
