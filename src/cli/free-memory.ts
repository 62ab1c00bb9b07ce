import { setFlagsFromString } from "node:v8";
import { trimMemory } from "../ffi/trim-memory.ts";

/** V8's memory reducer decides about its collections within 8 s of the start of the process, or of another collection. */
const REDUCER_DECIDES_MS = 10_000;
/** The default of V8. */
const REDUCER_COLLECTIONS = 2;

/**
 * Returns free memory to the system, which V8 and the C library do not do while a process is idle. Takes up to 0.1 s. Without
 * Node's option --expose-gc, V8 keeps its memory.
 */
export function freeMemory(): void {
  collectGarbage();
  trimMemory();
}

/**
 * Collects garbage without the two collections of V8's memory reducer that follow otherwise. Until they are over, a timer
 * wakes the process every 8 s for 5 min: see docs/design/footprint.md.
 */
function collectGarbage(): void {
  if (globalThis.gc === undefined) return;
  setReducerCollections(0);
  globalThis.gc({ type: "major", execution: "sync", flavor: "last-resort" });
  setTimeout(() => setReducerCollections(REDUCER_COLLECTIONS), REDUCER_DECIDES_MS).unref();
}

/** Versions of V8 without this flag ignore it. */
function setReducerCollections(count: number): void {
  setFlagsFromString(`--memory-reducer-gc-count=${count}`);
}
