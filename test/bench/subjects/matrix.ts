/** Half-closes and resets: how many of the cases of relay-matrix.ts end as on a plain connection. */
import { cases } from "../cases.ts";
import { passed, scoreOf } from "../relay-matrix.ts";
import { installed } from "../relayed.ts";
import { type Relay, relays } from "../relays.ts";
import type { Field, Sample, Subject } from "../subject.ts";

export const matrix: Subject = {
  name: "matrix",
  title: "Half-closes and resets that a relay forwards",
  metrics: [{ name: "passed", title: `cases passed of ${cases.length}`, digits: 0 }],
  references: [],
  isIsolated: true,
  // The result of a case does not depend on chance.
  maxRounds: 1,
  async open(): Promise<Field> {
    const { present, missing } = installed(relays);
    return { contestants: present.map((relay) => ({ name: relay.name, measure: () => measure(relay) })), missing };
  },
};

async function measure(relay: Relay): Promise<Sample> {
  const score = await scoreOf(relay);
  if (score.trouble !== null) throw new Error(score.trouble);
  return { passed: passed(score) };
}
