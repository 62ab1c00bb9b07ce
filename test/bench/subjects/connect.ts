/** The cost of a connection: connect, 64 bytes and their echo, close; one client at a time, and 16. */
import { connects, echoServer } from "../load.ts";
import { type Relayed, relayField } from "../relayed.ts";
import type { Metric, Sample, Subject } from "../subject.ts";

const CLIENTS = [1, 16];
const SECONDS = 1.5;

export const connect: Subject = {
  name: "connect",
  title: "Connect, echo of 64 bytes, close",
  metrics: CLIENTS.flatMap((clients): Metric[] => [
    { name: `p50Us${clients}`, title: `${clients === 1 ? "1 client" : `${clients} clients`}, p50 µs`, digits: 0 },
    { name: `p99Us${clients}`, title: "p99 µs", digits: 0 },
    ...(clients === 1 ? [{ name: "addedUs1", title: "p50 above direct, µs", digits: 0 }] : []),
    { name: `rate${clients}`, title: "connections/s", digits: 0 },
    { name: `cpuUs${clients}`, title: "CPU µs each", digits: 0 },
  ]),
  references: ["haproxy"],
  isIsolated: true,
  derive: (sample, direct) => ({ addedUs1: (sample["p50Us1"] ?? 0) - (direct["p50Us1"] ?? 0) }),
  open: (owned) => relayField(owned, echoServer, measure),
};

async function measure({ port, costs }: Relayed): Promise<Sample> {
  const sample: Record<string, number> = {};
  for (const clients of CLIENTS) {
    const before = (await costs?.cpuSeconds()) ?? 0;
    const { connections, seconds, p50Us, p99Us } = await connects(port, clients, SECONDS);
    sample[`p50Us${clients}`] = p50Us;
    sample[`p99Us${clients}`] = p99Us;
    sample[`rate${clients}`] = connections / seconds;
    if (costs !== undefined) sample[`cpuUs${clients}`] = (((await costs.cpuSeconds()) - before) / connections) * 1e6;
  }
  return sample;
}
