/** Bytes a second in one direction, and what they cost the relay, through 1, 8 and 64 connections at a time. */
import { flood, sinkServer } from "../load.ts";
import { type Relayed, relayField } from "../relayed.ts";
import type { Metric, Sample, Subject } from "../subject.ts";

const STREAMS = [1, 8, 64];
const SECONDS = 1;
const GB = 1e9;

export const throughput: Subject = {
  name: "throughput",
  title: "Throughput: GB/s, and CPU seconds of the relay for each GB",
  metrics: STREAMS.flatMap((streams): Metric[] => [
    { name: `rate${streams}`, title: `${streams === 1 ? "1 stream" : `${streams} streams`}, GB/s`, digits: 2 },
    { name: `cpu${streams}`, title: "CPU s/GB", digits: 3 },
  ]),
  references: ["haproxy", "socket-proxyd"],
  isIsolated: true,
  open: (owned) => relayField(owned, sinkServer, measure),
};

async function measure({ port, costs }: Relayed): Promise<Sample> {
  const sample: Record<string, number> = {};
  for (const streams of STREAMS) {
    const before = (await costs?.cpuSeconds()) ?? 0;
    const { bytes, seconds, cpuSeconds } = await flood(port, streams, SECONDS);
    sample[`rate${streams}`] = bytes / GB / seconds;
    if (costs !== undefined) sample[`cpu${streams}`] = (((await costs.cpuSeconds()) - before) / bytes) * GB;
    // Not a column: the sender's share of one core, which shows whether it is the limit.
    sample[`senderCores${streams}`] = cpuSeconds / seconds;
  }
  return sample;
}
