/** Files with texts for clients. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { codeOf, messageOf } from "../../errors.ts";
import { UnitError } from "./units.ts";

/** In bytes. */
export const MAX_BANNER: number = 64 * 1024;

/** Reads a banner. @throws UnitError if the file is unreadable, not a regular file, empty, or longer than 64 KiB */
export function readBanner(path: string): Buffer {
  const file = open(path);
  try {
    // A device may be endless, and a pipe may block.
    if (!fstatSync(file).isFile()) throw new UnitError(`"${path}" is not a regular file`);
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
    if (code === "ENOENT") throw new UnitError(`file "${path}" does not exist`);
    throw new UnitError(code === "EACCES" ? `no permission to read "${path}"` : `"${path}": ${messageOf(error)}`);
  }
}
