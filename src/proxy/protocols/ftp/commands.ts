/** Parses command lines of FTP clients. */

export interface Command {
  /** In capitals; empty for a line without a command. */
  readonly verb: string;
  /** Undefined if servers may parse the line in different ways. */
  readonly argument: string | undefined;
}

/** Commands with an address that the server dials. */
export const ACTIVE_VERBS: ReadonlySet<string> = new Set(["PORT", "EPRT", "LPRT"]);
const ACTIVE = /(?<![A-Z])(PORT|EPRT|LPRT)(?![A-Z])/i;
/** Telnet commands (RFC 854) with and without an option. FTP allows them in its lines. */
const TELNET = /\xff[\xfb-\xfe].|\xff./gs;

/**
 * Parses a line. Servers differ in how they treat Telnet commands, NUL and a carriage return within a line: if any
 * server may find a PORT in such a line, the result is a PORT without an argument.
 */
export function readCommand(line: string): Command {
  const text = line.replace(/\r?\n$/, "");
  if (/[\0\r\xff]/.test(text)) {
    const readings = [
      text.replace(/[\0\xf0-\xff]/g, ""),
      text.replace(TELNET, ""),
      text.replace(TELNET, "").replace(/\0/g, ""),
      text.replace(/[\0\r\xf0-\xff]/g, ""),
    ];
    const [hidden] = readings.flatMap((reading) => ACTIVE.exec(reading)?.[1] ?? []);
    if (hidden !== undefined) return { verb: hidden.toUpperCase(), argument: undefined };
  }
  const [, verb = "", space = "", rest = ""] = /^\s*([a-z]*)(\s?)(.*)$/is.exec(text.replace(TELNET, "")) ?? [];
  return { verb: verb.toUpperCase(), argument: space === "" && rest !== "" ? undefined : rest };
}
