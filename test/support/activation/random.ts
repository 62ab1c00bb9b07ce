/** Number of runs and seed of randomised tests. The printed seed replays a failure. */
import type { TestContext } from "node:test";

/** What fast-check's `assert` takes. */
export interface RandomRuns {
  readonly numRuns: number;
  readonly seed: number;
}

/** @param usual number of runs without WAKEPORT_TEST_RUNS: small enough to be part of every `npm test` */
export function randomRuns(t: TestContext, usual: number): RandomRuns {
  const { WAKEPORT_TEST_RUNS: runs, WAKEPORT_TEST_SEED: fixedSeed } = process.env;
  const seed = fixedSeed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(fixedSeed);
  const numRuns = runs === undefined ? usual : Number(runs);
  t.diagnostic(
    `${numRuns} runs from seed ${seed}; to replay: WAKEPORT_TEST_SEED=${seed} WAKEPORT_TEST_RUNS=${numRuns}`,
  );
  return { numRuns, seed };
}
