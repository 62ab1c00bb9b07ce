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

/** Those that are for a server in the midst of a transfer (RFC 959, 4.1.3), behind what calls its attention. */
const URGENT = /^[\xf0-\xff]*(?=(?:ABOR|STAT|QUIT)(?:[ \r\n]|$))/i;
const URGENT_AND_RETURN = /^[\xf0-\xff]*(?:ABOR|STAT|QUIT)\r$/i;
const MAX_URGENT = 16;
const MIN_MARK = 0xf0;
const NEWLINE = 0x0a;

/**
 * Whether this is a line of which only the newline is missing. Such commands are sent as urgent data, and the last byte
 * of those is not among what we receive: Python's ftplib marks the whole line, and so the newline is lost.
 */
export function isUrgent(start: Buffer): boolean {
  return start.length <= MAX_URGENT && URGENT_AND_RETURN.test(start.toString("latin1"));
}

/** An urgent command with its newline, and without the marks in front: servers know all of them, and one may be lost. */
export function wholeCommand(bytes: Buffer): Buffer {
  if (bytes[0]! < MIN_MARK && bytes.at(-1) === NEWLINE) return bytes;
  const line = bytes.toString("latin1");
  const whole = line.replace(URGENT, "").replace(/\n?$/, "\n");
  return whole === line ? bytes : Buffer.from(whole, "latin1");
}

/**
 * Reads a command. Servers do not agree on Telnet's commands, on NUL and on a carriage return within a line: with one of
 * those, what may be taken for a PORT anywhere in the line is one, of which nothing else is known.
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
