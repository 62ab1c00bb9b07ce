/** Reads the import lines of src/ and holds them against ARCHITECTURE.md. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";

interface Import {
  readonly from: string;
  /** A file of src/, or a package as it is named. */
  readonly to: string;
  readonly isType: boolean;
}

const src = path.join(import.meta.dirname, "../src");
const files = globSync("**/*.ts", { cwd: src }).toSorted();
const statement = /^(?:import|export)\s+(type\s)?(?:([^"';]*?)\s+from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(src, file), "utf8");
  return [...text.matchAll(statement)].map(([, type, names, specifier = "", dynamic]) => {
    const target = specifier || (dynamic ?? "");
    const to = target.startsWith(".") ? path.join(path.dirname(file), target) : target;
    return { from: file, to, isType: type !== undefined || isTypesOnly(names) };
  });
}

/** `{ type A, type B }` */
function isTypesOnly(names: string | undefined): boolean {
  const listed = /^\{(.*)\}$/s
    .exec(names?.trim() ?? "")?.[1]
    ?.split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  return listed?.every((name) => name.startsWith("type ")) ?? false;
}

const imports = files.flatMap(importsOf);
const show = ({ from, to }: Import): string => `${from} → ${to}`;
const isOwn = ({ to }: Import): boolean => to.endsWith(".ts");

/** Higher imports lower. What shares a level may import each other, short of a cycle. */
const levels: Readonly<Record<string, number>> = {
  "main.ts": 5,
  cli: 4,
  demo: 3,
  daemon: 3,
  admin: 2,
  telemetry: 2,
  udp: 2,
  proxy: 2,
  targets: 2,
  readiness: 2,
  docker: 2,
  import: 2,
  config: 2,
  net: 2,
  activation: 1,
  async: 0,
  "errors.ts": 0,
};

/** Each package, and the only place that may import it. */
const doors: Readonly<Record<string, RegExp>> = {
  dockerode: /^docker\//,
  "prom-client": /^telemetry\/metrics\.ts$/,
  pino: /^telemetry\/log\.ts$/,
  "pino-pretty": /^telemetry\/log\.ts$/,
  yaml: /^(config|import)\//,
  zod: /^config\//,
  "node:child_process": /^targets\/spawn\.ts$/,
  // The default import is the whole process; named functions are what a process group and the demo's programs need.
  "node:process": /^(main|targets\/process-group|demo\/.*)\.ts$/,
};

function levelOf(file: string): number | undefined {
  return levels[file.split("/")[0] ?? ""];
}

suite("architecture", () => {
  test("every file of src/ has its level", () => {
    assert.deepEqual(
      files.filter((file) => levelOf(file) === undefined),
      [],
    );
  });

  test("imports point one way", () => {
    const upward = imports.filter(
      (one) => isOwn(one) && !one.isType && (levelOf(one.from) ?? 0) < (levelOf(one.to) ?? 0),
    );
    assert.deepEqual(upward.map(show), []);
  });

  test("no file imports itself in a circle", () => {
    const targets = Map.groupBy(
      imports.filter((one) => isOwn(one) && !one.isType),
      ({ from }) => from,
    );
    const owner = (file: string, way: readonly string[]): void => {
      assert.ok(!way.includes(file), `a circle: ${[...way, file].join(" → ")}`);
      for (const { to } of targets.get(file) ?? []) owner(to, [...way, file]);
    };
    for (const file of files) owner(file, []);
  });

  for (const [name, door] of Object.entries(doors)) {
    test(`${name} has one door`, () => {
      const elsewhere = imports.filter(({ from, to }) => to === name && !door.test(from));
      assert.deepEqual(elsewhere.map(show), []);
      assert.ok(
        imports.some(({ to }) => to === name),
        `nobody imports ${name}: is it still needed?`,
      );
    });
  }

  test("no other package is imported", () => {
    const strangers = imports.filter((one) => !isOwn(one) && !one.to.startsWith("node:") && !(one.to in doors));
    assert.deepEqual(strangers.map(show), []);
  });

  test("activation imports only types from outside, except async/", () => {
    const outward = imports.filter(
      ({ from, to, isType }) => from.startsWith("activation/") && !/^(activation|async)\//.test(to) && !isType,
    );
    assert.deepEqual(outward.map(show), []);
  });

  test("connections are reset by net/reset.ts", () => {
    const resetting = files.filter((file) => /\.resetAndDestroy\(/.test(readFileSync(path.join(src, file), "utf8")));
    assert.deepEqual(resetting, ["net/reset.ts"]);
  });

  test("only main.ts touches the process", () => {
    const use = /(?<![\w."'`/-])process\.[a-z]/i;
    const touching = files.filter((file) => {
      const code = readFileSync(path.join(src, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"\n]*"|`[^`]*`/g, "");
      return file !== "main.ts" && use.test(code);
    });
    assert.deepEqual(touching, []);
  });
});
