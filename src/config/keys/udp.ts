/** Limits of UDP flows. */
import { z } from "zod";
import { duration, size } from "./common.ts";
import { type Context, effective, key, section, started } from "./key.ts";

/** Limit of the memory for all flows of a service, because senders are easily forged. */
const MAX_HELD_BYTES = 1024 ** 3;

const udpSection = {
  flow_timeout: key(
    duration.refine((ms) => ms > 0, "with 0s each flow would end at once"),
    { default: "30s", description: "Time without datagrams after which a flow ends" },
  ),
  flows: key(z.int().min(1).max(100_000), { default: 1_000, description: "Limit of simultaneous flows" }),
  held: key(size, { default: "64k", description: "Bytes that are held for each flow while the target starts" }),
};

export const udpKeys = {
  udp: key(section(udpSection), {
    description: "Limits of UDP flows; a flow is the traffic with one address and port of a client",
    ...started,
    needs: "udp",
  }),
};

export function resolveUdp({ own, defaults, report }: Context<typeof udpKeys>) {
  const { flow_timeout, flows, held } = effective(udpSection, own.udp, defaults.udp);
  if (flows * held > MAX_HELD_BYTES) {
    const message = `${flows} flows with ${held} bytes each can fill the memory: the limit is 1 GiB`;
    report(message, { hint: 'lower "udp.flows" or "udp.held"' });
  }
  return { udp: { flowTimeoutMs: flow_timeout, flows, heldBytes: held } };
}
