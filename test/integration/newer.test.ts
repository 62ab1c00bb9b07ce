/** The core of this suite on a newer engine than the machine's. It takes a minute, and is run when it is asked for. */
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
  // From here on the tests mean this one by "the engine": these modules look at it when they are loaded.
  process.env["DOCKER_HOST"] = engine.host;
  test("it is newer", async () => {
    const version = await engineVersion();
    assert.ok(Number.parseInt(version ?? "", 10) > Number.parseInt(older ?? "", 10), `${version} after ${older}`);
  });
  for (const core of ["contract", "wake", "others", "readiness"]) await import(`./${core}.test.ts`);
});
