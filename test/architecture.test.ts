/** Checks the imports of src/ against the layers of ARCHITECTURE.md. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import path from "node:path";
import { suite, test } from "node:test";
import { programs } from "../build/programs.ts";

interface Import {
  readonly from: string;
  /** A file of src/, or a package as it is named. */
  readonly to: string;
}

const src = path.join(import.meta.dirname, "../src");
const files = globSync("**/*.ts", { cwd: src }).toSorted();
const statement = /^(?:import|export)\s+(?:type\s)?(?:[^"';]*?\s+from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(src, file), "utf8");
  return [...text.matchAll(statement)].map(([, specifier = "", dynamic]) => {
    const target = specifier || (dynamic ?? "");
    return { from: file, to: target.startsWith(".") ? path.join(path.dirname(file), target) : target };
  });
}

const imports = files.flatMap(importsOf);
const show = ({ from, to }: Import): string => `${from} → ${to}`;
const isOwn = ({ to }: Import): boolean => to.endsWith(".ts");

/**
 * Layers of src/, highest first. A file belongs to the longest matching path. A layer imports only lower layers and
 * itself, types included.
 */
const layers: readonly string[] = [
  "main.ts",
  "context.ts",
  "cli",
  "demo",
  "daemon",
  "admin",
  "telemetry",
  "udp",
  "proxy/listen/listener-pool.ts",
  "proxy/routing",
  "proxy/connection.ts",
  "proxy/rejection.ts",
  "proxy/handlers",
  "proxy/protocols/protocols.ts",
  "proxy/protocols/http",
  "proxy/protocols/ftp",
  "proxy/protocols",
  "proxy",
  "proxy/admission",
  "proxy/data-ports.ts",
  "proxy/unrouted.ts",
  "proxy/listen",
  "kernel-route",
  "targets",
  "readiness",
  "docker",
  "import",
  "config",
  "dataplane",
  "net",
  "ffi",
  "activation",
  "async",
  "errors.ts",
];

/** Each package, and the only files that may import it. */
const importers: Readonly<Record<string, RegExp>> = {
  dockerode: /^docker\//,
  "prom-client": /^telemetry\/metrics\.ts$/,
  pino: /^telemetry\/log\.ts$/,
  koffi: /^ffi\//,
  "pino-pretty": /^telemetry\/log\.ts$/,
  yaml: /^(config|import)\//,
  zod: /^config\//,
  // The tools of the kernel route end within 10 s, the reader of the configuration within 30 s; targets are process groups
  // with environments of their own.
  "node:child_process": /^(targets\/node-spawner|kernel-route\/tool|config\/read-config)\.ts$/,
  // The default import is the whole process; named functions are what children and the demo's programs need.
  "node:process": /^(main|context|targets\/(process-group|reaper)|demo\/.*)\.ts$/,
};

function isInLayer(file: string, layer: string): boolean {
  return file === layer || file.startsWith(`${layer}/`);
}

/** The layer's position from the top, or -1. */
function levelOf(file: string): number {
  const [layer] = layers.filter((one) => isInLayer(file, one)).toSorted((a, b) => b.length - a.length);
  return layer === undefined ? -1 : layers.indexOf(layer);
}

suite("architecture", () => {
  test("each file of src/ belongs to a layer, and each layer has files", () => {
    const unknown = files.filter((file) => levelOf(file) === -1);
    assert.deepEqual(unknown, []);
    const empty = layers.filter((_, level) => files.every((file) => levelOf(file) !== level));
    assert.deepEqual(empty, []);
  });

  test("no layer imports a higher one, not even a type", () => {
    const upward = imports.filter((one) => isOwn(one) && levelOf(one.from) > levelOf(one.to));
    assert.deepEqual(upward.map(show), []);
  });

  test("no imports form a circle, not even of types", () => {
    const targets = Map.groupBy(imports.filter(isOwn), ({ from }) => from);
    const checked = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      assert.ok(!path.includes(file), `circle: ${[...path, file].join(" → ")}`);
      if (checked.has(file)) return;
      for (const { to } of targets.get(file) ?? []) visit(to, [...path, file]);
      checked.add(file);
    };
    for (const file of files) visit(file, []);
  });

  for (const [name, importer] of Object.entries(importers)) {
    test(`${name} is imported in one place`, () => {
      const elsewhere = imports.filter(({ from, to }) => to === name && !importer.test(from));
      assert.deepEqual(elsewhere.map(show), []);
      assert.ok(
        imports.some(({ to }) => to === name),
        `${name} is not imported: remove it`,
      );
    });
  }

  test("no other package is imported", () => {
    const others = imports.filter((one) => !isOwn(one) && !one.to.startsWith("node:") && !(one.to in importers));
    assert.deepEqual(others.map(show), []);
  });

  test("each file that no other file imports is a program of the build", () => {
    const used = new Set(files.flatMap(importsOf).map(({ to }) => to));
    const found = files.filter((file) => !used.has(file) || programs.includes(file.replace(/\.ts$/, "")));
    assert.deepEqual(found.map((file) => file.replace(/\.ts$/, "")).toSorted(), programs.toSorted());
  });

  test("what runs while all targets sleep loads no library for configurations, and no formatter", () => {
    const loaded = new Set<string>();
    const load = (file: string): void => {
      if (loaded.has(file)) return;
      loaded.add(file);
      if (!file.endsWith(".ts")) return;
      const code = stripTypeScriptTypes(readFileSync(path.join(src, file), "utf8"));
      for (const [, to = ""] of code.matchAll(/^(?:import|export)\s+(?:[^"';]*?\s+from\s+)?"([^"]+)"/gm)) {
        load(to.startsWith(".") ? path.join(path.dirname(file), to) : to);
      }
    };
    // The files that main.ts imports later, for the command "run".
    for (const file of ["main.ts", "context.ts", "cli/cli.ts", "cli/run.ts", "cli/serve.ts"]) load(file);
    const packages = [...loaded].filter((name) => !name.endsWith(".ts") && !name.startsWith("node:"));
    assert.deepEqual(packages.toSorted(), ["dockerode", "pino", "prom-client"]);
  });

  test("activation imports nothing but async/ and errors.ts", () => {
    const outward = imports.filter(
      ({ from, to }) => from.startsWith("activation/") && !/^(activation|async)\/|^errors\.ts$/.test(to),
    );
    assert.deepEqual(outward.map(show), []);
  });

  test("connections are reset by net/reset.ts", () => {
    const resetting = files.filter((file) => /\.resetAndDestroy\(/.test(readFileSync(path.join(src, file), "utf8")));
    assert.deepEqual(resetting, ["net/reset.ts"]);
  });

  test("only main.ts and context.ts touch the process, except for the signal of exited children", () => {
    const use = /(?<![\w."'`/-])process\.[a-z]/i;
    const touching = files.filter((file) => {
      const text = readFileSync(path.join(src, file), "utf8").replace('process.on("SIGCHLD"', "");
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"\n]*"|`[^`]*`/g, "");
      return !["main.ts", "context.ts"].includes(file) && use.test(code);
    });
    assert.deepEqual(touching, []);
  });
});
