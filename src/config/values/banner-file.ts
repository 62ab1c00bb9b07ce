/** Texts for clients that stand in files of their own. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { codeOf, messageOf } from "../../errors.ts";
import { UnitError } from "./units.ts";

/** More than anybody reads. */
export const MAX_BANNER: number = 64 * 1024;

/** Reads a banner. @throws UnitError for what cannot be read, is no file, is empty, or longer than 64 KiB */
export function readBanner(path: string): Buffer {
  const file = open(path);
  try {
    // A device has no end, and a pipe may never begin.
    if (!fstatSync(file).isFile()) throw new UnitError(`"${path}" is no file`);
    const bytes = Buffer.alloc(MAX_BANNER + 1);
    const length = readSync(file, bytes, 0, bytes.length, 0);
    if (length === 0) throw new UnitError(`"${path}" is empty`);
    if (length > MAX_BANNER) throw new UnitError(`"${path}" is longer than ${MAX_BANNER} bytes`);
    return Buffer.from(bytes.subarray(0, length));
  } finally {
    closeSync(file);
  }
}

function open(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") throw new UnitError(`there is no file "${path}"`);
    throw new UnitError(code === "EACCES" ? `no permission to read "${path}"` : `"${path}": ${messageOf(error)}`);
  }
}
