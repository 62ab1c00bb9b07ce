import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { execPath } from "node:process";
import { suite, test } from "node:test";

const module = new URL("../../src/cli/free-memory.ts", import.meta.url).href;
/** The memory reducer decides after 10 ms instead of 8 s, and writes its decision to the standard output. */
const FLAGS = ["--expose-gc", "--trace-memory-reducer", "--gc-memory-reducer-start-delay-ms=10"];

const DECISION = /Memory reducer: waiting for/;

/** Whether the memory reducer of V8 plans collections. @param act run before its decision @param limitMs for the decision */
async function plansAfter(act: string, limitMs: number): Promise<boolean> {
  const script = `const { freeMemory } = await import("${module}"); ${act} setTimeout(() => {}, ${limitMs});`;
  const child = spawn(execPath, [...FLAGS, "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (DECISION.test(output)) child.kill();
  });
  await once(child, "close");
  return DECISION.test(output);
}

suite("freeMemory()", () => {
  test("prevents the collections of V8 that follow a collection otherwise", async () => {
    const collect = 'globalThis.gc({ type: "major", execution: "sync", flavor: "last-resort" });';
    assert.equal(await plansAfter(collect, 20_000), true);
    assert.equal(await plansAfter("freeMemory();", 1_000), false);
  });
});
