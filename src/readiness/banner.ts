import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { type Question, questionProbe } from "./exchange.ts";
import { AnsweredError, type NamedProbe } from "./probe.ts";

/** Mail servers delay their greeting: sendmail by `greet_pause`, Exim and Postfix by some seconds. */
export const GREETING_MS = 30_000;

/**
 * Ready when what accepts on `port` greets with `banner`: an FTP server's "220".
 *
 * @param send what it expects before it greets: a header of the PROXY protocol, here for nobody else than wakeport
 */
export function bannerProbe(port: number, banner: string, send?: ProxyVersion): NamedProbe {
  const expected = Buffer.from(banner);
  const greets = (bytes: Buffer): { value: undefined; used: number } | undefined => {
    const known = bytes.subarray(0, expected.length);
    if (!expected.subarray(0, known.length).equals(known)) throw new AnsweredError(`does not greet with "${banner}"`);
    return known.length === expected.length ? { value: undefined, used: known.length } : undefined;
  };
  const question = {
    name: `banner ${JSON.stringify(banner)}`,
    missing: "has not greeted",
    limitMs: GREETING_MS,
    ask: async (exchange, signal) => exchange.receive(greets, signal),
  } satisfies Question;
  return questionProbe(port, question, send);
}
