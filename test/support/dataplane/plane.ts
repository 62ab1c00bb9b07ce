import assert from "node:assert/strict";
import { after, before } from "node:test";
import { DataPlane } from "../../../src/dataplane/data-plane.ts";

/** Returns a data plane that is up before all tests of the calling file, and closed after them. Call it once, at the top. */
export function usePlane(): DataPlane {
  const plane = new DataPlane({
    maxPipes: 16,
    onProblem: (problem) => assert.fail(problem),
    onLost: (error) => {
      throw error;
    },
  });
  before(() => plane.ready());
  after(() => plane.close());
  return plane;
}
