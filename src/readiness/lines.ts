import type { Found } from "../net/peek.ts";

/** Reads one line of text, and drops its end. Returns undefined if the line is incomplete. */
export function readLine(bytes: Buffer): Found<string> | undefined {
  const end = bytes.indexOf("\n");
  if (end < 0) return undefined;
  return { value: bytes.toString("latin1", 0, end).replace(/\r$/, ""), used: end + 1 };
}
