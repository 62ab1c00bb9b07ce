import { accessSync, constants, readdirSync, readFileSync, statSync } from "node:fs";
import { codeOf, messageOf } from "../errors.ts";

/** A file or folder that was named cannot be read, or is no such configuration. */
export class ImportError extends Error {
  override readonly name = "ImportError";
}

/** The files that an import may look at. */
export interface Sources {
  /** What is at a path; undefined when nothing is. */
  kindOf(path: string): "file" | "folder" | "other" | undefined;
  /** The names in a folder. @throws what the system throws */
  list(path: string): string[];
  /** The lines of a file, each up to its first NUL. @throws ImportError, or what the system throws */
  lines(path: string): string[];
  /** How many bytes a file has; undefined where there is none that may be read. */
  sizeOf(path: string): number | undefined;
  /** Whether a program is there that may be run. */
  isProgram(path: string): boolean;
}

/** More than any real configuration. */
const MAX_FILE = 1024 * 1024;

/** The files of this machine. */
export const systemSources: Sources = {
  kindOf(path) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    if (found.isFile()) return "file";
    return found.isDirectory() ? "folder" : "other";
  },
  list: (path) => readdirSync(path),
  lines: (path) => linesOf(readFileSync(path), path),
  sizeOf(path) {
    const found = mayBe(path, constants.R_OK) ? statSync(path, { throwIfNoEntry: false }) : undefined;
    return found?.isFile() === true ? found.size : undefined;
  },
  isProgram: (path) => mayBe(path, constants.X_OK),
};

function mayBe(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** @throws ImportError when the file is too big to be a configuration */
export function linesOf(bytes: Uint8Array, path: string): string[] {
  if (bytes.length > MAX_FILE) {
    throw new ImportError(`${path}: the file has ${bytes.length} bytes; at most ${MAX_FILE} are read`);
  }
  const lines = new TextDecoder("utf-8").decode(bytes).split("\n");
  if (lines.at(-1) === "") lines.pop();
  // The programs that read these files are written in C: for them a line ends there.
  return lines.map((line) => line.split("\0", 1).join(""));
}

/** Why a path cannot be read, in words. */
export function reasonOf(error: unknown): string {
  if (error instanceof ImportError) return error.message;
  switch (codeOf(error)) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
      return "no permission to read it";
    default:
      return messageOf(error);
  }
}
