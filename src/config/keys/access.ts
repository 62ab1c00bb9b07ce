/** Which clients a service accepts. */
import { z } from "zod";
import { parseTimes, parseTimeZone } from "../values/access-times.ts";
import { parseNetwork } from "../values/networks.ts";
import { oneOrMore, parsedBy, present } from "./common.ts";
import { type Context, effective, forClients, key, section } from "./key.ts";

const network = z.string().transform(parsedBy(parseNetwork)).meta({ title: "network" });
/** One network or a list, which may be empty. */
export const networks = z.union([network.transform((one) => [one]), z.array(network)]);

const accessSection = {
  allow: key(networks, { description: "Addresses and networks that may connect; absent: all, empty: none" }),
  deny: key(networks, { default: [], description: 'Addresses and networks that may not connect, even if in "allow"' }),
  times: key(oneOrMore(z.string().transform(parsedBy(parseTimes))), {
    description: 'When clients may connect: "mon-fri 08:00-20:00", "22:00-06:00", "sat,sun"; absent: always',
  }),
  timezone: key(z.string().transform(parsedBy(parseTimeZone)), {
    description: 'The time zone of "times", such as Europe/Berlin; default: that of the machine',
  }),
};

export const accessKeys = {
  access: key(section(accessSection), { description: "Which clients may connect, and when", ...forClients }),
  on_deny: key(z.enum(["reset", "close"]), {
    default: "reset",
    description: "How the connection of a rejected client ends",
    ...forClients,
  }),
  monitors: key(networks, {
    default: [],
    description: "Addresses of health checks: wakeport accepts and closes their connections, and starts nothing",
    ...forClients,
  }),
};

export function resolveAccess({ own, defaults, report }: Context<typeof accessKeys>) {
  const { allow, deny, times, timezone } = effective(accessSection, own.access, defaults.access);
  if (own.access?.timezone !== undefined && times === undefined) {
    const hint = 'add "times", or remove it';
    report('"timezone" has no effect without "times"', { at: ["access", "timezone"], hint });
  }
  const { on_deny, monitors } = effective(accessKeys, own, defaults);
  return {
    access: present({ allow, deny, times, timeZone: timezone }),
    monitors,
    onDeny: on_deny,
  };
}
