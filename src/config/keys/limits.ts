/** How many clients a service accepts. */
import { z } from "zod";
import { parseRate } from "../values/rates.ts";
import { parsedBy, present } from "./common.ts";
import { type Context, effective, forClients, key, section } from "./key.ts";

const count = z.int().min(1).max(1_000_000);

const rate = z
  .string({
    error: ({ input }) => (typeof input === "number" ? `a rate has a unit: write "${input}/s"` : undefined),
  })
  .transform(parsedBy(parseRate))
  .meta({ title: "rate", examples: ["50/s", "10/m", "100/h"] });

const limitsSection = {
  connections: key(count, { description: "Limit of simultaneous connections" }),
  waiting: key(count, {
    default: 1_000,
    description: "Limit of clients that wait for the target, and of clients that wait for a free connection",
  }),
  per_source: key(count, { description: "Limit of simultaneous connections from one source" }),
  ipv6_prefix: key(z.int().min(1).max(128), {
    default: 64,
    description: "Prefix length of IPv6 addresses that count as one source",
  }),
  rate: key(rate, { description: "Limit of the rate of new connections; one source gets at most half of it" }),
  rate_per_source: key(rate, { description: "Limit of the rate of new connections from one source" }),
  max_load: key(z.number().min(0.01).max(1_000_000), {
    description: "One-minute load average above which clients are rejected",
  }),
  on_limit: key(z.enum(["reject", "queue"]), {
    default: "reject",
    description: "Whether a client above a limit of connections is rejected, or waits for a free connection",
  }),
};

export const limitsKeys = {
  limits: key(section(limitsSection), { description: "How many clients may connect", ...forClients }),
};

export function resolveLimits({ own, defaults, target }: Context<typeof limitsKeys>) {
  // A sensor must record all clients: limits of `defaults` do not apply.
  const inherited = target.kind === "sensor" ? { ipv6_prefix: defaults.limits?.ipv6_prefix } : defaults.limits;
  const limits = effective(limitsSection, own.limits, inherited);
  return {
    limits: present({
      connections: limits.connections,
      waiting: limits.waiting,
      perSource: limits.per_source,
      ipv6Prefix: limits.ipv6_prefix,
      rate: limits.rate,
      ratePerSource: limits.rate_per_source,
      maxLoad: limits.max_load,
      onLimit: limits.on_limit,
    }),
  };
}
