/**
 * The head of an HTTP/1 request: its first line and its fields, up to the blank line.
 *
 * Lines may end in LF alone, as most servers allow. Everything else that two programs might read in two ways is refused:
 * what serves the client must not see another host than the one it was led by.
 *
 * @see RFC 9112, sections 2 to 5
 */

export interface HttpHead {
  readonly method: string;
  /** As it was sent: `/path?query`, `http://host/path`, `host:port`, `*`. */
  readonly target: string;
  /** `1.1`; `2.0` for the preface of HTTP/2 (RFC 9113, section 3.4), which has no fields. */
  readonly version: string;
  /** In the order in which they came. */
  readonly headers: readonly HttpHeader[];
  /** How many bytes it has, the blank line included. */
  readonly length: number;
}

export interface HttpHeader {
  /** In lower case. */
  readonly name: string;
  /** Each byte is one character; without the blanks around it. */
  readonly value: string;
}

/** The bytes are no head of a request of HTTP/1. */
export class HttpHeadError extends Error {
  override readonly name = "HttpHeadError";
}

/** Method, target, version. A target may have any byte but blanks and controls. */
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/(\d\.\d)$/;
// Blanks around the value are cut by hand: told apart in here, many of them would be tried in every division.
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const TOKEN_START = /^[!#$%&'*+.^_`|~0-9A-Za-z-]/;

const LF = 0x0a;
const CR = 0x0d;

/**
 * Reads the head that the bytes begin with.
 *
 * @returns undefined while its end is missing; how long to wait, and for how many bytes, is for the caller to say
 * @throws HttpHeadError, as soon as that can be told
 */
export function readHttpHead(bytes: Buffer): HttpHead | undefined {
  let at = blankLines(bytes);
  if (at === bytes.length) return undefined;
  if (!TOKEN_START.test(String.fromCharCode(bytes[at] ?? 0))) throw new HttpHeadError("the request has no method");
  const first = lineFrom(bytes, at);
  if (first === undefined) return undefined;
  const [, method, target, version] = REQUEST_LINE.exec(first.text) ?? [];
  if (method === undefined || target === undefined || version === undefined) {
    throw new HttpHeadError("the first line is no request of HTTP");
  }
  if (!version.startsWith("1.") && !(method === "PRI" && target === "*" && version === "2.0")) {
    throw new HttpHeadError("the version of HTTP is not known");
  }
  at = first.next;
  const end = endOfFields(bytes, at);
  if (end === undefined) return undefined;
  const headers: HttpHeader[] = [];
  for (let line = lineFrom(bytes, at); line !== undefined && line.text !== ""; line = lineFrom(bytes, at)) {
    headers.push(readField(line.text));
    at = line.next;
  }
  return { method, target, version, headers, length: end };
}

/** All values of a field, whose name is given in lower case. */
export function valuesOf({ headers }: Pick<HttpHead, "headers">, name: string): string[] {
  return headers.filter((header) => header.name === name).map(({ value }) => value);
}

/** A client may have sent some after an earlier request. @see RFC 9112, section 2.2 */
function blankLines(bytes: Buffer): number {
  let at = 0;
  while (bytes[at] === CR || bytes[at] === LF) at += 1;
  return at;
}

/** @see RFC 9112, section 5 */
function readField(line: string): HttpHeader {
  const [, name, value] = FIELD_LINE.exec(line) ?? [];
  if (name === undefined || value === undefined) throw new HttpHeadError("a line of the head is no field");
  return { name: name.toLowerCase(), value: withoutBlanksAround(value) };
}

/** Spaces and tabs alone: of what else `trim` takes away, something may have been meant. */
function withoutBlanksAround(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isBlank(text[from])) from += 1;
  while (to > from && isBlank(text[to - 1])) to -= 1;
  return text.slice(from, to);
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t";
}

/** Past the first blank line; undefined when there is none. */
function endOfFields(bytes: Buffer, from: number): number | undefined {
  for (let at = from; ; ) {
    const end = bytes.indexOf(LF, at);
    if (end < 0) return undefined;
    if (end === at || (end === at + 1 && bytes[at] === CR)) return end + 1;
    at = end + 1;
  }
}

/** A line without its end, and where the next one begins. */
function lineFrom(bytes: Buffer, from: number): { readonly text: string; readonly next: number } | undefined {
  const end = bytes.indexOf(LF, from);
  if (end < 0) return undefined;
  const last = end > from && bytes[end - 1] === CR ? end - 1 : end;
  return { text: bytes.toString("latin1", from, last), next: end + 1 };
}
