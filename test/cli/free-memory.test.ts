import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { execPath } from "node:process";
import { suite, test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const module = new URL("../../src/cli/free-memory.ts", import.meta.url).href;
/** The memory reducer decides after 10 ms instead of 8 s, and writes its decision to the standard output. */
const FLAGS = ["--expose-gc", "--trace-memory-reducer", "--gc-memory-reducer-start-delay-ms=10"];

/** Returns what the memory reducer of V8 wrote. @param act run before its decision */
async function reducerAfter(act: string): Promise<string> {
  const script = `const { freeMemory } = await import("${module}"); ${act} setTimeout(() => {}, 500);`;
  const { stdout } = await run(execPath, [...FLAGS, "--input-type=module", "-e", script]);
  return stdout;
}

suite("freeMemory()", () => {
  test("prevents the collections of V8 that follow a collection otherwise", async () => {
    const collect = 'globalThis.gc({ type: "major", execution: "sync", flavor: "last-resort" });';
    assert.match(await reducerAfter(collect), /Memory reducer: waiting for/);
    assert.doesNotMatch(await reducerAfter("freeMemory();"), /Memory reducer: waiting for/);
  });
});
