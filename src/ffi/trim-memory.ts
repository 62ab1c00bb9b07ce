import { type CFunction, FfiError, loadLibc } from "./libc.ts";

/** Undefined before the first call, and if the C library has no such function. */
let mallocTrim: CFunction | undefined;

/**
 * Returns the free memory of the C library's heaps to the system, as malloc_trim(3) of glibc does. Takes about 2 ms. Does
 * nothing on other systems, whose heaps do not keep free memory.
 */
export function trimMemory(): void {
  try {
    mallocTrim ??= loadLibc().find("int malloc_trim(size_t)");
    mallocTrim(0);
  } catch (error) {
    if (!(error instanceof FfiError)) throw error;
  }
}
