/** Checks that the tests of the unit tier need no engine and do not run the program. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";

const folder = import.meta.dirname;
const otherTiers = ["program", "integration", "e2e"];

test("unit tests import no helper for an engine or the program", () => {
  const found = globSync("**/*.test.ts", { cwd: folder })
    .filter((file) => !otherTiers.includes(file.split(path.sep)[0] ?? ""))
    .filter((file) => /from "[^"]*support\/(engine|program)\//.test(readFileSync(path.join(folder, file), "utf8")));
  assert.deepEqual(found, []);
});
