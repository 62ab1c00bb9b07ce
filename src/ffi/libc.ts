/**
 * Functions of the C library, called through koffi. koffi takes 10 to 50 ms and 2 MB to load, so it is loaded at the first
 * use.
 */
import { createRequire } from "node:module";
import { platform } from "node:os";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import type { LibraryHandle } from "koffi";
import { messageOf } from "../errors.ts";

/** The C library cannot be called on this machine. */
export class FfiError extends Error {
  override readonly name = "FfiError";
}

type CParameter = number | bigint | string | Uint8Array | object | null;

/** A function of the C library. Pointers are Buffers or null; `long` and `size_t` are numbers. */
export type CFunction = (...parameters: readonly CParameter[]) => number;

/** The same, called in a thread of libuv's pool. Keep and do not change its Buffers until the promise resolves. */
export type ThreadedCFunction = (...parameters: readonly CParameter[]) => Promise<number>;

export interface Libc {
  /**
   * Finds a function by its C prototype, such as `int close(int)`.
   *
   * @throws FfiError if the C library has no such function
   */
  readonly find: (prototype: string) => CFunction;
  /** As `find`, for a function that blocks. `errno` is not available. */
  readonly findThreaded: (prototype: string) => ThreadedCFunction;
  /** Returns `errno` of the last call in this thread. Any other call in between may change it. */
  readonly errno: () => number;
}

type KoffiFunction = ReturnType<LibraryHandle["func"]>;

let loaded: Libc | undefined;

/**
 * Loads the C library once for each thread.
 *
 * @throws FfiError if the system is not Linux, or koffi is missing or has no binary for this architecture
 */
export function loadLibc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  if (platform() !== "linux") throw new FfiError(`the platform is ${platform()}, not linux`);
  const { library, errno } = open();
  const find = (prototype: string): KoffiFunction => {
    try {
      return library.func(prototype);
    } catch (error) {
      throw new FfiError(`the C library has no "${prototype}": ${messageOf(error)}`, { cause: error });
    }
  };
  return { errno, find, findThreaded: (prototype) => threaded(find(prototype)) };
}

function threaded(call: KoffiFunction): ThreadedCFunction {
  return (...parameters) => {
    return new Promise((resolve, reject) => {
      call.async(...parameters, (error: unknown, result: number) => (error ? reject(error) : resolve(result)));
    });
  };
}

function open(): { library: LibraryHandle; errno: () => number } {
  try {
    const koffi: typeof import("koffi") = createRequire(import.meta.url)("koffi");
    // Without a path, the symbols of the process itself: they include the C library, under any file name.
    return { library: koffi.load(null), errno: () => koffi.errno() };
  } catch (error) {
    throw new FfiError(`koffi cannot be loaded: ${messageOf(error)}`, { cause: error });
  }
}

/** Returns the error of a failed call, with its name as `code`. @param number a value of `errno` */
export function systemError(call: string, number: number): Error & { readonly code: string } {
  const code = getSystemErrorName(-number);
  return Object.assign(new Error(`${call}: ${getSystemErrorMessage(-number)} (${code})`), { code });
}
