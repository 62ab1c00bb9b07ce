/**
 * SSH: held in silence. RFC 4253 4.2 lets a server say other lines before its version, but to nobody's use: clients show
 * them only when they are debugged, and some take the first line for the version.
 *
 * When it was in vain, a client is told so in such a line, as OpenSSH's server does when it has too many clients.
 */

import { notAvailable } from "./messages.ts";
import type { Protocol } from "./protocol.ts";
import { silence } from "./raw.ts";

export const ssh: Protocol = {
  hold: ({ progress }) => ({
    ...silence,
    refuse: () => Promise.resolve(Buffer.from(`${notAvailable(progress.service)}\r\n`)),
  }),
};
