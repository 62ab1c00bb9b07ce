import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { exchangeProbe, type ReadinessCheck } from "./exchange.ts";
import { AnsweredError, type NamedProbe } from "./probe.ts";

/** Mail servers delay their greeting: sendmail with `greet_pause`, Exim and Postfix by a few seconds. */
export const GREETING_MS = 30_000;

/** Returns a probe that succeeds when the server on `port` greets with `banner`, such as an FTP server with "220". */
export function bannerProbe(port: number, banner: string, send?: ProxyVersion): NamedProbe {
  const expected = Buffer.from(banner);
  const readBanner = (bytes: Buffer): { value: undefined; used: number } | undefined => {
    const known = bytes.subarray(0, expected.length);
    if (!expected.subarray(0, known.length).equals(known)) throw new AnsweredError(`does not greet with "${banner}"`);
    return known.length === expected.length ? { value: undefined, used: known.length } : undefined;
  };
  const check = {
    name: `banner ${JSON.stringify(banner)}`,
    missing: "has not greeted",
    limitMs: GREETING_MS,
    check: async (exchange, signal) => exchange.receive(readBanner, signal),
  } satisfies ReadinessCheck;
  return exchangeProbe(port, check, send);
}
