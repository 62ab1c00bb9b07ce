/** What a line of a client asks for. */

export interface Command {
  /** In capitals; empty for a line that says nothing. */
  readonly verb: string;
  /** Undefined where servers may differ in what they make of the line. */
  readonly argument: string | undefined;
}

/** Those that name an address for the server to dial. */
const ACTIVE = /(?<![A-Z])(PORT|EPRT|LPRT)(?![A-Z])/i;
/** Telnet's commands (RFC 854), which FTP allows between its own: with an option, and without. */
const TELNET = /\xff[\xfb-\xfe].|\xff./gs;

/**
 * Reads a command. Servers do not agree on Telnet's commands, on NUL and on a carriage return within a line: with one of
 * those, what may be taken for a PORT anywhere in the line is one, of which nothing else is known.
 */
export function readCommand(line: string): Command {
  const text = line.replace(/\r?\n$/, "");
  if (/[\0\r\xff]/.test(text)) {
    const [, hidden] = ACTIVE.exec(text.replace(/[\0\xf0-\xff]/g, "")) ?? ACTIVE.exec(text.replace(TELNET, "")) ?? [];
    if (hidden !== undefined) return { verb: hidden.toUpperCase(), argument: undefined };
  }
  const [, verb = "", space = "", rest = ""] = /^\s*([a-z]*)(\s?)(.*)$/is.exec(text.replace(TELNET, "")) ?? [];
  return { verb: verb.toUpperCase(), argument: space === "" && rest !== "" ? undefined : rest };
}
