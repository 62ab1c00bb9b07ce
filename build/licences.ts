import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { OutputAsset, OutputChunk } from "rolldown";

/** Returns the licences of all packages with code in a bundle. @throws if a package has none */
export function licencesOf(output: readonly (OutputAsset | OutputChunk)[], root: string): string {
  const modules = output.flatMap((file) => (file.type === "chunk" ? Object.keys(file.modules) : []));
  const folders = new Set(modules.flatMap((module) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module)?.[0] ?? []));
  const texts = [...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? `License: ${license}` : readFileSync(path.join(folder, file), "utf8").trim();
    if (file === undefined && license === undefined) throw new Error(`${path.relative(root, folder)} has no licence`);
    return `${name} ${version}\n\n${text}\n`;
  });
  return texts.toSorted().join(`\n${"-".repeat(80)}\n\n`);
}
