/** Random schedules of what both sides send, how fast they read and how they end, see schedule.ts: which go wrong. */
import { playThrough } from "../relay-schedules.ts";
import { installed } from "../relayed.ts";
import { relays } from "../relays.ts";
import type { Field, Sample, Subject } from "../subject.ts";

const COUNT = 1_000;
const CLIENTS = 24;
/** The same schedules for each relay. */
const SEED = 1;
const others = ["direct", "haproxy"];

export const schedules: Subject = {
  name: "schedules",
  title: `${COUNT} random schedules of bytes, half-closes and resets`,
  metrics: [
    { name: "bad", title: "not as on a direct connection", digits: 0 },
    { name: "left", title: "sockets left open", digits: 0 },
  ],
  references: [],
  isIsolated: true,
  maxRounds: 1,
  async open(): Promise<Field> {
    const { present, missing } = installed(relays.filter(({ name }) => others.includes(name)));
    const contestants = present.map(({ name }) => ({ name, measure: () => measure(name) }));
    const own = ["splice", "node"].map((relay) => ({
      name: `wakeport, relay: ${relay}`,
      measure: () => measure(relay),
    }));
    return { contestants: [...contestants, ...own], missing };
  },
};

async function measure(name: string): Promise<Sample> {
  const { problems, left } = await playThrough(name, { count: COUNT, clients: CLIENTS, seed: SEED });
  return { bad: problems.length, left };
}
