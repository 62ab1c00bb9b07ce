import { accessSync, constants, readdirSync, readFileSync, statSync } from "node:fs";
import { codeOf, messageOf } from "../errors.ts";

/** A file cannot be read, or is too large to be a configuration. */
export class ImportError extends Error {
  override readonly name = "ImportError";
}

/** The files that an import reads. */
export interface Sources {
  /** Returns undefined if the path does not exist. */
  kindOf(path: string): "file" | "folder" | "other" | undefined;
  /** Returns the names in a folder. @throws what the system throws */
  list(path: string): string[];
  /** Returns the lines of a file, each up to its first NUL. @throws ImportError, or what the system throws */
  lines(path: string): string[];
  /** Returns the bytes of a file, or undefined if it is not a readable file. */
  sizeOf(path: string): number | undefined;
  isProgram(path: string): boolean;
}

const MAX_BYTES = 1024 * 1024;

/** The files of this machine. */
export const systemSources: Sources = {
  kindOf(path) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    if (stats.isFile()) return "file";
    return stats.isDirectory() ? "folder" : "other";
  },
  list: (path) => readdirSync(path),
  lines: (path) => linesOf(readFileSync(path), path),
  sizeOf(path) {
    const stats = hasAccess(path, constants.R_OK) ? statSync(path, { throwIfNoEntry: false }) : undefined;
    return stats?.isFile() === true ? stats.size : undefined;
  },
  isProgram: (path) => hasAccess(path, constants.X_OK),
};

function hasAccess(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** @throws ImportError if the file is too large */
export function linesOf(bytes: Uint8Array, path: string): string[] {
  if (bytes.length > MAX_BYTES) {
    throw new ImportError(`${path}: the file has ${bytes.length} bytes; at most ${MAX_BYTES} are read`);
  }
  const lines = new TextDecoder("utf-8").decode(bytes).split("\n");
  if (lines.at(-1) === "") lines.pop();
  // xinetd and inetd are written in C, where a NUL ends the line.
  return lines.map((line) => line.split("\0", 1).join(""));
}

/** Returns why a path cannot be read. */
export function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "no such file";
    case "EACCES":
      return "permission denied";
    default:
      return messageOf(error);
  }
}

/** Runs `read`. @throws ImportError that names the path, if the path cannot be read */
export function reading<Result>(path: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw error instanceof ImportError ? error : new ImportError(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}
