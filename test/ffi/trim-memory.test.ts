import assert from "node:assert/strict";
import { memoryUsage } from "node:process";
import { suite, test } from "node:test";
import { loadLibc } from "../../src/ffi/libc.ts";
import { trimMemory } from "../../src/ffi/trim-memory.ts";

const CHUNK = 100_000;
const CHUNKS = 500;

suite("trimMemory()", () => {
  test("returns the memory of freed chunks to the system", () => {
    const { find } = loadLibc();
    const calloc = find("intptr_t calloc(size_t, size_t)");
    const free = find("void free(intptr_t)");
    const memset = find("intptr_t memset(intptr_t, int, size_t)");
    const chunks = Array.from({ length: CHUNKS }, () => calloc(CHUNK, 1));
    for (const chunk of chunks) memset(chunk, 1, CHUNK);
    // The last chunk stays, so that the C library cannot shrink the heap by itself.
    for (const chunk of chunks.slice(0, -1)) free(chunk);
    const before = memoryUsage.rss();
    trimMemory();
    assert.ok(memoryUsage.rss() < before - (CHUNK * CHUNKS) / 2);
    free(chunks.at(-1)!);
  });
});
