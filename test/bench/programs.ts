/** Programs of this machine that benchmarks need, and the Debian packages that have them. */
import { existsSync, globSync } from "node:fs";
import { resolve } from "node:path";

export interface Requirement {
  /** A name that is looked up, or a path. */
  readonly file: string;
  readonly comesFrom: string;
}

const SYSTEM_FOLDERS = [
  "/usr/sbin",
  "/usr/lib/systemd",
  "/lib/systemd",
  "/usr/lib/nginx/modules",
  ...globSync("/usr/lib/postgresql/*/bin"),
];

/** Returns null if all are installed, else the missing packages. */
export function missingOf(needs: readonly Requirement[]): string | null {
  const absent = needs.filter(({ file }) => find(file) === null);
  if (absent.length === 0) return null;
  return [...new Set(absent.map(({ comesFrom }) => comesFrom))].join(", ");
}

/** Returns the path of a program. @throws if it is not installed */
export function locate(file: string): string {
  const path = find(file);
  if (path === null) throw new Error(`Cannot find "${file}"`);
  return path;
}

function find(file: string): string | null {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...SYSTEM_FOLDERS];
  return folders.map((folder) => resolve(folder, file)).find((path) => existsSync(path)) ?? null;
}
