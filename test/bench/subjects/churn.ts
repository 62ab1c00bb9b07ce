/** Many short connections of every kind at once, see relay-churn.ts: what is lost, damaged or left open. */
import { churnOf, FAULTS } from "../relay-churn.ts";
import { installed } from "../relayed.ts";
import { type Relay, relays } from "../relays.ts";
import type { Field, Sample, Subject } from "../subject.ts";

const SECONDS = 6;
/** The same connections for each relay. */
const SEED = 1;

/** socat forks for each connection, and socket-proxyd and nginx fail cases of relay-matrix.ts that are more exact. */
const omitted = ["nginx", "socat", "socket-proxyd"];

export const churn: Subject = {
  name: "churn",
  title: `200 clients that send, half-close, close and reset, for ${SECONDS} s`,
  metrics: [
    { name: "connections", title: "connections", digits: 0 },
    ...FAULTS.map((fault) => ({ name: fault, title: fault, digits: 0 })),
    { name: "leftOpen", title: "left open", digits: 0 },
  ],
  references: [],
  isIsolated: true,
  maxRounds: 1,
  async open(): Promise<Field> {
    const { present, missing } = installed(relays.filter(({ name }) => !omitted.includes(name)));
    return { contestants: present.map((relay) => ({ name: relay.name, measure: () => measure(relay) })), missing };
  },
};

async function measure(relay: Relay): Promise<Sample> {
  const { connections, faults, left } = await churnOf(relay, SECONDS, SEED);
  return { connections, ...faults, leftOpen: left.atServer + left.atRelay };
}
