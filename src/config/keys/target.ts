/** The target of a service. */
import { z } from "zod";
import { builtinNames, type TargetSpec } from "../config.ts";
import { address, duration } from "./common.ts";
import { connectionKeys } from "./connection.ts";
import { container, containerTarget } from "./container.ts";
import { effective, key, type TargetKind, targetKinds, type UntargetedContext } from "./key.ts";
import { inetdSchema, inetdTarget, processSchema, processTarget } from "./process.ts";

export const targetKeys = {
  container: key(container, {
    description: "The container to start: a name, a service of a compose project, or an image to create it from",
  }),
  process: key(processSchema, { description: "The local program to start" }),
  inetd: key(inetdSchema, {
    description: "The local program to start for each client, with the connection as its stdin and stdout",
  }),
  forward: key(address, { description: "Where to forward clients, host:port; a name is looked up for each client" }),
  builtin: key(z.enum(builtinNames), { description: "A small service in wakeport itself, for tests" }),
  sensor: key(
    z.strictObject({
      ban: duration.refine((ms) => ms > 0, "a ban must be longer than 0s").describe("Duration of the ban"),
    }),
    { description: "A tripwire: clients that connect are banned from all services" },
  ),
} satisfies Record<TargetKind, unknown>;

type Untargeted = UntargetedContext<typeof targetKeys & typeof connectionKeys>;

/** Returns the only target key of the service. Returns undefined and reports a problem if it has no target or two. */
export function targetKindOf({ own, report }: Untargeted): TargetKind | undefined {
  const [kind, second] = targetKinds.filter((name) => own[name] !== undefined);
  if (kind === undefined) {
    report("a target is missing", { hint: `add one of ${targetKinds.map((name) => `"${name}:"`).join(", ")}` });
  } else if (second !== undefined) {
    report(`"${kind}" and "${second}" exclude each other: a service has one target`, { key: second });
    return undefined;
  }
  return kind;
}

/** Returns undefined, and reports, if the target is incomplete. */
export function resolveTarget(context: Untargeted): TargetSpec | undefined {
  const { name, own, defaults } = context;
  const { process, inetd, forward, builtin, sensor } = own;
  if (forward !== undefined) return { kind: "forward", ...forward };
  if (inetd !== undefined) return inetdTarget(inetd);
  if (builtin !== undefined) return { kind: "builtin", builtin };
  if (sensor !== undefined) return { kind: "sensor", banMs: sensor.ban };
  if (process !== undefined) return processTarget(process, context);
  const { network } = effective(connectionKeys, own, defaults);
  return own.container === undefined ? undefined : containerTarget(name, own.container, network);
}
