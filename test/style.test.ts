/** Checks the wording of code and documents against the style guide of CONTRIBUTING.md. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";

const root = path.join(import.meta.dirname, "..");

/** Words that have a standard term or a plainer form in this project, with the rule of the style guide. */
const patterns: Readonly<Record<string, RegExp>> = {
  "1: name the client, peer, target or listener": /\b(who|whoever|whom|(some|no|any|every)(body|one))\b/i,
  "1: repeat the noun": /\bones? (that|who|which)\b|\bthose (that|who|which)\b/i,
  "2: route": /\b(led|leads?)\b/i,
  "2: acquire, bind, stop, release, reject":
    /\b(be|was|is) had\b|\blet go of\b|\bput(s|ting)? away\b|\bturn(s|ed)? away\b|\bfarewell\b|\bgatehouse\b|\bonlookers?\b/i,
  "2: continue, read again": /\b(go|goes) on\b|\banew\b/i,
  "3: contain, report, send": /\b(says?|said|saying|tells?|told|telling|speaks?|spoken|hears?|heard)\b/i,
  "4: negate the verb":
    /\b(is|are|was|were) none\b|\b(is|are) no (name|service|port|address|path|file|number|reset|ip)\b/i,
  "14: use if, unless, except": /\bas far as\b|\bbut for\b|\bhardly\b/i,
};

const files = globSync(
  [
    "src/**/*.ts",
    "build/**/*.ts",
    "bin/*",
    "*.md",
    "docs/**/*.md",
    "compose/**/*.{md,yaml,yml,cfg}",
    ".ci/run",
    "Dockerfile",
  ],
  // CONTRIBUTING.md quotes the words.
  { cwd: root, exclude: ["CONTRIBUTING.md"] },
).toSorted();

suite("wording", () => {
  for (const [rule, pattern] of Object.entries(patterns)) {
    test(`follows rule ${rule}`, () => {
      const found = files.flatMap((file) =>
        readFileSync(path.join(root, file), "utf8")
          .split("\n")
          .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
      );
      assert.deepEqual(found, []);
    });
  }
});
