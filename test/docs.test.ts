/** Checks the documents against the files, settings and log events of this repository. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { eventNames, type State, stateNames, transition } from "../src/activation/machine.ts";
import { parseConfig } from "../src/config/parse.ts";

const root = path.join(import.meta.dirname, "..");
const documents = globSync(["*.md", "docs/**/*.md", "compose/**/*.md", "test/**/*.md"], { cwd: root }).toSorted();
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;

/** The text without code blocks, and with code spans if `keepsSpans`. */
function prose(text: string, keepsSpans: boolean): string {
  const withoutBlocks = text.replace(/^(```+)[^\n]*\n[\s\S]*?^\1\s*$/gm, "");
  return keepsSpans ? withoutBlocks : withoutBlocks.replace(/`[^`\n]*`/g, "");
}

/** Returns the anchors of a document's headings, as GitHub builds them. */
function anchorsOf(file: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of prose(read(file), true).matchAll(/^#{1,6}\s+(.*?)\s*#*$/gm)) {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
    const base = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    let anchor = base;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${base}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Returns undefined if the link leads to an existing file and heading, else the reason. */
function faultOf(file: string, link: string): string | undefined {
  const [target = "", anchor] = decodeURI(link).split("#");
  const linked = target === "" ? file : path.join(path.dirname(file), target);
  if (linked.startsWith("..")) return "outside of the repository";
  if (!existsSync(path.join(root, linked))) return "no such file";
  if (anchor === undefined) return undefined;
  if (statSync(path.join(root, linked)).isDirectory() || !linked.endsWith(".md"))
    return "an anchor in a file without headings";
  return anchorsOf(linked).has(anchor) ? undefined : "no such heading";
}

/** Returns the cell of the state table if its next states and effects are those of `transition`, else what they are. */
function checkedCell(name: State["name"], event: (typeof eventNames)[number], cell: string): string {
  const moves = [0, 1, 2].flatMap((leases) => {
    try {
      return [transition({ name, leases, closing: false }, event)];
    } catch {
      return [];
    }
  });
  const expected = new Set(
    moves.flatMap(({ state, effects }) => [state.name === name ? "stay" : state.name, ...effects]),
  );
  const shown = new Set([...cell.matchAll(/[a-z-]+/g)].map(([word]) => (word === name ? "stay" : word)));
  for (const word of ["no", "lease", "leases", "else", "wait"]) shown.delete(word);
  const isSame = expected.size === 0 ? cell === "–" : expected.symmetricDifference(shown).size === 0;
  return isSame ? cell : [...expected].join(", ");
}

suite("documents", () => {
  test("link to files and headings that exist", () => {
    const broken = documents.flatMap((file) =>
      [...prose(read(file), false).matchAll(/\]\(<?((?!https?:|mailto:)[^)\s>]+)>?\)/g)].flatMap(([, link = ""]) => {
        const fault = faultOf(file, link);
        return fault === undefined ? [] : [`${file}: ${link}: ${fault}`];
      }),
    );
    assert.ok(documents.length > 40);
    assert.deepEqual(broken, []);
  });

  test("do not use reference links, which the link test does not check", () => {
    const definitions = documents.filter((file) => /^\[[^\]]+\]:\s/m.test(prose(read(file), false)));
    assert.deepEqual(definitions, []);
  });

  test("docs/README.md lists each page of docs/, and docs/design/README.md each page of docs/design/", () => {
    for (const folder of ["docs", "docs/design"]) {
      const index = read(`${folder}/README.md`);
      const pages = globSync("*.md", { cwd: path.join(root, folder) }).filter((page) => page !== "README.md");
      const missing = pages.filter((page) => !index.includes(`](${page})`));
      assert.deepEqual(missing, [], folder);
    }
  });

  test("README.md and ARCHITECTURE.md are short", () => {
    for (const [file, limit] of [
      ["README.md", 130],
      ["ARCHITECTURE.md", 120],
    ] as const) {
      const lines = read(file).trimEnd().split("\n").length;
      assert.ok(lines <= limit, `${file} has ${lines} lines`);
    }
  });

  test("ARCHITECTURE.md and docs/design/ name files of src/ that exist", () => {
    const sources = globSync("**/*.ts", { cwd: path.join(root, "src") });
    const unknown = ["ARCHITECTURE.md", ...globSync("docs/design/*.md", { cwd: root })].flatMap((file) =>
      [...read(file).matchAll(/`((?:[a-z-]+\/)*[a-z-]+\.ts)`/g)]
        .map(([, name = ""]) => name)
        .filter((name) => !existsSync(path.join(root, name)))
        .filter((name) => !sources.some((source) => source === name || source.endsWith(`/${name}`)))
        .map((name) => `${file}: ${name}`),
    );
    assert.deepEqual(unknown, []);
  });

  test("ARCHITECTURE.md shows the state machine", () => {
    const rows = read("ARCHITECTURE.md")
      .split("\n")
      .filter((line) => /^\| (\*\*\w+\*\* )?\|.*(\|.*){14}/.test(line))
      .map((line) =>
        line
          .split("|")
          .slice(2, -1)
          .map((cell) => cell.trim()),
      );
    const [header = [], ...cells] = rows;
    assert.deepEqual(header, eventNames);
    assert.deepEqual(
      cells,
      stateNames.map((name, row) =>
        eventNames.map((event, column) => checkedCell(name, event, cells[row]?.[column] ?? "")),
      ),
    );
  });

  test("README.md shows the files of compose/quickstart", () => {
    const shown = [...read("README.md").matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
    const { name: _name, ...compose } = parse(read("compose/quickstart/compose.yaml"));
    assert.deepEqual(parse(shown[0] ?? ""), compose);
    assert.deepEqual(parse(shown[1] ?? ""), parse(read("compose/quickstart/config/wakeport.yaml")));
  });

  test("show configurations that are valid", () => {
    const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };
    const blocks = documents.flatMap((file) =>
      [...read(file).matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block = ""]) => ({ file, block })),
    );
    const configurations = blocks.filter(({ block }) => {
      const services: object[] = Object.values(parse(block)?.services ?? {});
      // compose files have images.
      return services.length > 0 && !services.some((service) => "image" in service || "build" in service);
    });
    assert.ok(configurations.length > 12);
    for (const { file, block } of configurations) parseConfig(Buffer.from(block), path.join(root, file), context);
  });

  test("docs/troubleshooting.md lists each event of the log", () => {
    const page = read("docs/troubleshooting.md");
    const events = globSync("src/**/*.ts", { cwd: root }).flatMap((file) =>
      [...read(file).matchAll(/(?:\bevent: |[wW]arning\(\s*)"([a-z_]+\.[a-z_]+|state|started)"/g)].map(
        ([, event = ""]) => event,
      ),
    );
    assert.ok(events.length > 30);
    assert.deepEqual(
      events.filter((event) => !page.includes(`\`${event}\``)),
      [],
    );
  });

  test("docs/metrics.md lists each metric", () => {
    const page = read("docs/metrics.md");
    const definition = /#(?:collected)?(?:counter|gauge|histogram)\(\s*"([a-z_]+)"/gi;
    const names = [...read("src/telemetry/metrics.ts").matchAll(definition)].map(([, name = ""]) => `wakeport_${name}`);
    assert.ok(names.length > 25);
    assert.deepEqual(
      names.filter((name) => !page.includes(`\`${name}\``)),
      [],
    );
  });

  test("use the user of the examples for wakeport's container, and need no exported variable", () => {
    const form = /^ *user: "\$\{DOCKER_GID:\+65532:\}\$\{DOCKER_GID:-0\}"/m;
    for (const file of ["README.md", "docs/install.md", "compose/web/compose.yaml", "compose/stack/compose.yaml"]) {
      assert.match(read(file), form, file);
    }
    for (const file of documents) assert.doesNotMatch(read(file), /export DOCKER_GID/, file);
  });

  const skip = !hasSystemd && "NO systemd-analyze: test/engine/tools brings it";
  test("docs/operating.md has systemd units that systemd accepts", { skip }, async () => {
    const [service = "", socket = ""] = [...read("docs/operating.md").matchAll(/^```ini\n([\s\S]*?)^```/gm)].map(
      ([, unit = ""]) => unit,
    );
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    try {
      const files = [path.join(folder, "wakeport.service"), path.join(folder, "wakeport.socket")] as const;
      await writeFile(files[0], service.replaceAll("/opt/wakeport", root));
      await writeFile(files[1], socket);
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", ...files], { encoding: "utf8" });
      assert.deepEqual([status, stderr.split("\n").filter((line) => line.includes("wakeport."))], [0, []]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
