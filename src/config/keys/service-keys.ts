/** The list of all keys of a service. */
import { accessKeys } from "./access.ts";
import { bannerKeys } from "./banner.ts";
import { connectionKeys } from "./connection.ts";
import { dependencyKeys } from "./dependencies.ts";
import { ftpKeys } from "./ftp.ts";
import type { Keys } from "./key.ts";
import { limitsKeys } from "./limits.ts";
import { nameKeys } from "./names.ts";
import { portKeys } from "./ports.ts";
import { protocolKeys } from "./protocol.ts";
import { readyKeys } from "./ready.ts";
import { relayKeys } from "./relay.ts";
import { sleepKeys } from "./sleep.ts";
import { startKeys } from "./start.ts";
import { targetKeys } from "./target.ts";
import { udpKeys } from "./udp.ts";

/** Keys that only the acceptor of a connection can apply. */
export const admissionKeys = { ...accessKeys, ...limitsKeys, ...bannerKeys };

/** Keys that `defaults` may set as well. */
export const defaultsKeys = {
  ...connectionKeys,
  ...relayKeys,
  ...readyKeys,
  ...sleepKeys,
  ...startKeys,
  ...protocolKeys,
  ...ftpKeys,
  ...admissionKeys,
  ...udpKeys,
};

export const serviceKeys = {
  ...portKeys,
  ...nameKeys,
  ...targetKeys,
  ...dependencyKeys,
  ...defaultsKeys,
} satisfies Keys;
