/** What the documents say about files and settings of this repository is true. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";

const root = path.join(import.meta.dirname, "..");
const documents = globSync(["*.md", "docs/*.md", "compose/*/README.md", "test/engine/README.md"], { cwd: root });
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;

suite("the documents", () => {
  test("link to files that exist", () => {
    const broken = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => target)
        .filter((target) => !existsSync(path.join(root, path.dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    assert.ok(documents.length > 15);
    assert.deepEqual(broken, []);
  });

  test("use the user of the examples for wakeport's container, and need no exported variable", () => {
    const form = /^ *user: "\$\{DOCKER_GID:\+65532:\}\$\{DOCKER_GID:-0\}"/m;
    for (const file of ["README.md", "docs/install.md", "compose/web/compose.yaml", "compose/stack/compose.yaml"]) {
      assert.match(read(file), form, file);
    }
    for (const file of documents) assert.doesNotMatch(read(file), /export DOCKER_GID/, file);
  });

  const skip = !hasSystemd && "NO systemd-analyze: test/engine/tools brings it";
  test("have a systemd unit that systemd accepts", { skip }, async () => {
    const unit = /^```ini\n(.*?)^```/ms.exec(read("docs/install.md"))?.[1] ?? "";
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    try {
      const file = path.join(folder, "wakeport.service");
      await writeFile(file, unit.replaceAll("/opt/wakeport", root));
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
      assert.deepEqual([status, stderr.split("\n").filter((line) => line.includes("wakeport.service"))], [0, []]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
