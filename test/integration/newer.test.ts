/** The core of this suite on a newer engine than the machine's. It takes a minute and runs only on request. */
import assert from "node:assert/strict";
import { after, suite, test } from "node:test";
import { engineVersion } from "../support/engine/engine.ts";
import { cannotHaveEngine, PrivateEngine } from "../support/engine/private-engine.ts";

const isAsked = process.env["WAKEPORT_TEST_NEWER"] === "1";
const skip = isAsked ? cannotHaveEngine : "NOT ON A NEWER ENGINE: WAKEPORT_TEST_NEWER=1 asks for it";

suite("on a newer engine", { skip }, async () => {
  const older = await engineVersion();
  const engine = await PrivateEngine.open("--newer");
  after(() => engine[Symbol.asyncDispose]());
  await engine.load("node:24-bookworm-slim");
  // From here on, "the engine" is this one: the modules read DOCKER_HOST when they are loaded.
  process.env["DOCKER_HOST"] = engine.host;
  test("the engine is newer", async () => {
    const version = await engineVersion();
    assert.ok(Number.parseInt(version ?? "", 10) > Number.parseInt(older ?? "", 10), `${version} after ${older}`);
  });
  for (const core of ["contract", "wake", "others", "readiness"]) await import(`./${core}.test.ts`);
});
