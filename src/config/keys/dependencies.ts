/** Which services wake and sleep together. */
import { z } from "zod";
import { dockerName, present } from "./common.ts";
import { type Context, effective, key, started, startedKinds } from "./key.ts";

const serviceNames = z.array(z.string().min(1));

export const dependencyKeys = {
  depends_on: key(serviceNames, {
    default: [],
    description: "Services whose targets are ready before this one starts, and stay up while it is awake",
    targets: startedKinds,
  }),
  group: key(dockerName, { description: "The name of a group: its services wake and sleep together", ...started }),
  with: key(serviceNames, {
    default: [],
    description: "Services with which this one wakes and sleeps; they do not wait for it, nor fail if it fails",
    targets: startedKinds,
  }),
};

export function resolveDependencies({ own }: Context<typeof dependencyKeys>) {
  const { depends_on, group, with: wakesWith } = effective(dependencyKeys, own);
  return present({ dependsOn: depends_on, wakesWith, group });
}
