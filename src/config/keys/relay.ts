/** How the bytes of TCP connections are forwarded. */
import { z } from "zod";
import { relayModes, type Service, wokenKinds } from "../config.ts";
import { type Context, effective, key } from "./key.ts";

export const relayKeys = {
  relay: key(z.enum(relayModes), {
    default: "auto",
    description:
      "How bytes are forwarded: `kernel`, by rules of the kernel, without wakeport (docs/kernel-route.md); `splice`, by a thread with splice(2); `node`, by Node's streams; `auto`, by the first of these that is possible, `kernel` for containers only",
    targets: ["container", "process", "forward"],
    needs: "ports",
    label: true,
  }),
};

export function resolveRelay({ own, defaults, target, report }: Context<typeof relayKeys>): Pick<Service, "relay"> {
  if (own.relay === "kernel" && !wokenKinds.has(target.kind)) {
    report('"relay: kernel" needs a target that wakeport starts', { at: ["relay"], hint: "remove it" });
  }
  return { relay: effective(relayKeys, own, defaults).relay };
}
