/**
 * Builds dist/, or the folder of the argument: src/ with its packages as few CommonJS files, because a program of many modules takes more time and memory
 * to load. Parts that only some commands or options need are files of their own, loaded at their first use.
 */
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Plugin, type RenderedChunk, rolldown } from "rolldown";
import { licencesOf } from "./licences.ts";
import { programs } from "./programs.ts";
import { warmUp } from "./warm-up.ts";

const root = path.join(import.meta.dirname, "..");
const src = path.join(root, "src");
/** The folder of the result. Its parent has package.json. */
const dist = path.resolve(process.argv[2] ?? path.join(root, "dist"));

/** Has a native binary, and is loaded at its first use. */
const EXTERNAL = ["koffi"];

/** Imports of dockerode, prom-client and pino for features that wakeport does not use: they are empty in dist/. */
const UNUSED: ReadonlySet<string> = new Set([
  // dockerode: builds of images, and copies of files into containers.
  "@balena/dockerignore",
  "@grpc/grpc-js",
  "@grpc/proto-loader",
  "protobufjs",
  "tar-fs",
  // dockerode: engines at ssh:// addresses, which docker/host.ts rejects.
  "ssh2",
  // prom-client: exemplars of traces, clusters of processes, and a gateway for metrics.
  "@opentelemetry/api",
  "./lib/cluster",
  "./lib/pushgateway",
  // pino: transports in a worker thread.
  "thread-stream",
]);

/** Parts of Node that packages load early and that wakeport uses rarely or never. TLS takes 5 MB. */
const LATE: ReadonlySet<string> = new Set(["https", "node:https", "tls", "node:tls", "zlib", "crypto", "node:crypto"]);

/** Replaces unused packages by empty modules, and parts of Node by objects that load them at the first use. */
const lean: Plugin = {
  name: "lean",
  resolveId(id) {
    if (UNUSED.has(id)) return `\0unused:${id}`;
    return LATE.has(id) ? `\0late:${id}` : null;
  },
  load(id) {
    if (id.startsWith("\0unused:")) return "module.exports = {};";
    if (!id.startsWith("\0late:")) return null;
    const name = JSON.stringify(id.slice("\0late:".length));
    return `module.exports = new Proxy({}, { get: (_, key) => process.getBuiltinModule(${name})[key] });`;
  },
};

/** Keeps the meaning of `import.meta` in a file of src/: its place below dist/. */
const places: Plugin = {
  name: "places",
  transform(code, id) {
    if (!code.includes("import.meta.")) return null;
    const file = path.relative(src, id).replace(/\.ts$/, ".js");
    const filename = `require("node:path").join(DIST, ${JSON.stringify(file)})`;
    const changed = code
      .replaceAll("import.meta.filename", filename)
      .replaceAll("import.meta.dirname", `require("node:path").dirname(${filename})`)
      .replaceAll("import.meta.url", `require("node:url").pathToFileURL(${filename}).href`);
    // No line moves, so that the source map without the columns of these places is right.
    return { code: changed, map: null };
  },
};

/** Escapes other characters than ASCII, because V8 stores a file with one of them in two bytes for each character. */
const ascii: Plugin = {
  name: "ascii",
  generateBundle(_options, files) {
    for (const file of Object.values(files)) {
      if (file.type !== "chunk") continue;
      file.code = file.code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    }
  },
};

/** Enables V8's compile cache before a program loads its other files. */
function bannerOf({ fileName, isEntry }: RenderedChunk): string {
  const up = path.relative(path.dirname(fileName), ".") || ".";
  const dirname = up === "." ? "__dirname" : `require("node:path").join(__dirname, ${JSON.stringify(up)})`;
  const options = '{ directory: require("node:path").join(DIST, "cache"), portable: true }';
  const cache = `require("node:module").enableCompileCache(${options});`;
  return `"use strict";\nconst DIST = ${dirname};${isEntry ? `\n${cache}` : ""}`;
}

rmSync(dist, { recursive: true, force: true });
const bundle = await rolldown({
  cwd: root,
  input: Object.fromEntries(programs.map((name) => [name, path.join(src, `${name}.ts`)])),
  platform: "node",
  external: EXTERNAL,
  plugins: [lean, places, ascii],
});
const { output } = await bundle.write({
  dir: dist,
  format: "cjs",
  banner: bannerOf,
  comments: false,
  sourcemap: true,
  entryFileNames: "[name].js",
  chunkFileNames: "parts/[name].js",
});
await bundle.close();
writeFileSync(path.join(dist, "package.json"), '{ "type": "commonjs" }\n');
writeFileSync(path.join(dist, "LICENCES.txt"), licencesOf(output, root));
await warmUp(path.join(dist, "main.js"), path.join(dist, "cache"));
