import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { configurationReference, referenceFile } from "../support/configuration-reference.ts";

test("docs/configuration.md is up to date", () => {
  assert.equal(readFileSync(referenceFile, "utf8"), configurationReference(), "run `npm run docs`");
});
