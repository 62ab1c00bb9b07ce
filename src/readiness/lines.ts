import type { Parsed } from "../net/peek.ts";

/** Returns one line of text without its end, or undefined if it is incomplete. */
export function readLine(bytes: Buffer): Parsed<string> | undefined {
  const end = bytes.indexOf("\n");
  if (end < 0) return undefined;
  return { value: bytes.toString("latin1", 0, end).replace(/\r$/, ""), used: end + 1 };
}
