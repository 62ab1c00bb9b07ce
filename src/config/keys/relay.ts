/** How the bytes of TCP connections are forwarded. */
import { z } from "zod";
import { relayModes, type Service } from "../config.ts";
import { type Context, effective, key } from "./key.ts";

export const relayKeys = {
  relay: key(z.enum(relayModes), {
    default: "auto",
    description:
      "What forwards the bytes of connections: `splice`, the kernel; `node`, the program; `auto`, the best that works",
    targets: ["container", "process", "forward"],
    needs: "tcp",
    label: true,
  }),
};

export function resolveRelay({ own, defaults }: Context<typeof relayKeys>): Pick<Service, "relay"> {
  return { relay: effective(relayKeys, own, defaults).relay };
}
