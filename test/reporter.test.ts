/** The output of `npm test`: progress by file, failures with their reasons, and the summary at the end. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execPath } from "node:process";
import { test } from "node:test";

const good = `import { test } from "node:test"; test("fine", () => {}); test("later", { skip: "no engine" }, () => {});`;
const bad = `
import { suite, test } from "node:test";
suite("outer", () => {
  test("fine", () => {});
  test("wrong", () => { throw new Error("boom"); });
});
`;

test("run.ts prints one line per file, each failure with its reason, the slowest files, and the totals last", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
  try {
    const files = { "a.test.mjs": good, "b.test.mjs": bad };
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
    const env = { ...process.env };
    delete env["NODE_TEST_CONTEXT"];
    const run = path.join(import.meta.dirname, "run.ts");
    const { status, stdout } = spawnSync(execPath, [run, ...Object.keys(files)], {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    assert.equal(status, 1);
    const lines = stdout.trimEnd().split("\n");
    const fileLines = lines.filter((line) => /^[✔✖] \d\/2 /.test(line)).map((line) => line.replace(/^(. )\d/, "$1N"));
    assert.deepEqual(fileLines.map((line) => line.replace(/ \([\d.]+ m?s\)$/, "")).toSorted(), [
      "✔ N/2 a.test.mjs: 2 tests, 1 skipped",
      "✖ N/2 b.test.mjs: 2 tests, 1 failed",
    ]);
    assert.match(stdout, /^✖ b\.test\.mjs:5 outer > wrong \([\d.]+ m?s\)\n {2}Error: boom$/m);
    assert.match(stdout, /\nslowest files:\n {2} *[\d.]+ m?s [ab]\.test\.mjs\n {2} *[\d.]+ m?s [ab]\.test\.mjs\n/);
    assert.match(
      stdout,
      /\nfailed tests:\n✖ b\.test\.mjs:5 outer > wrong\n\nℹ tests 4\nℹ suites 1\nℹ pass 2\nℹ fail 1\n/,
    );
    assert.match(lines.at(-1) ?? "", /^ℹ duration_ms /);
    assert.ok(!stdout.includes("fine"), "tests that pass are not listed");
  } finally {
    await rm(folder, { recursive: true });
  }
});
