/**
 * Parses the head of an HTTP/1 request: request line and headers, up to the blank line.
 *
 * Lines may end in LF alone, as most servers allow. All other ambiguous input is rejected: the server must not see
 * another host than the router.
 *
 * @see RFC 9112, sections 2 to 5
 */

export interface HttpHead {
  readonly method: string;
  /** Unchanged: `/path?query`, `http://host/path`, `host:port`, `*`. */
  readonly target: string;
  /** `1.1`; `2.0` for the preface of HTTP/2 (RFC 9113, section 3.4), which has no headers. */
  readonly version: string;
  /** In their order. */
  readonly headers: readonly HttpHeader[];
  /** Number of bytes, including the blank line. */
  readonly length: number;
}

export interface HttpHeader {
  /** In lower case. */
  readonly name: string;
  /** Latin-1 text, without surrounding spaces and tabs. */
  readonly value: string;
}

/** The bytes are not the head of an HTTP/1 request. */
export class HttpHeadError extends Error {
  override readonly name = "HttpHeadError";
}

/** Method, target, version. A target may contain all bytes except blanks and controls. */
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/(\d\.\d)$/;
// Blanks around the value are not matched here, because a long run of blanks would cause quadratic backtracking.
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/;
const TOKEN_START = /^[!#$%&'*+.^_`|~0-9A-Za-z-]/;

const LF = 0x0a;
const CR = 0x0d;

type RequestLine = Pick<HttpHead, "method" | "target" | "version">;

/** Reads one head that arrives in pieces. Each byte is searched once for an LF. */
export class HttpHeadReader {
  #request: RequestLine | undefined;
  /** Start of the fields. */
  #fields = 0;
  /** Start of the incomplete line. */
  #line = 0;
  /** End of the searched part of that line. */
  #searched = 0;

  /**
   * @param bytes all bytes that have arrived so far; the caller limits their number and the time
   * @returns undefined while the end of the head is missing
   * @throws HttpHeadError
   */
  read(bytes: Buffer): HttpHead | undefined {
    this.#request ??= this.#readRequestLine(bytes);
    if (this.#request === undefined) return undefined;
    for (let end = this.#lineEnd(bytes); end !== undefined; end = this.#lineEnd(bytes)) {
      const isBlank = end === this.#line || (end === this.#line + 1 && bytes[this.#line] === CR);
      this.#line = end + 1;
      if (isBlank) return { ...this.#request, headers: headersIn(bytes, this.#fields), length: this.#line };
    }
    return undefined;
  }

  #readRequestLine(bytes: Buffer): RequestLine | undefined {
    // A client may have sent blank lines after an earlier request (RFC 9112, section 2.2).
    while (bytes[this.#line] === CR || bytes[this.#line] === LF) this.#line += 1;
    this.#searched = Math.max(this.#searched, this.#line);
    if (this.#line === bytes.length) return undefined;
    const first = String.fromCharCode(bytes[this.#line] ?? 0);
    if (!TOKEN_START.test(first)) throw new HttpHeadError("the request has no method");
    const end = this.#lineEnd(bytes);
    if (end === undefined) return undefined;
    const request = requestIn(textOf(bytes, this.#line, end));
    this.#line = end + 1;
    this.#fields = this.#line;
    return request;
  }

  /** Index of the next LF. */
  #lineEnd(bytes: Buffer): number | undefined {
    const end = bytes.indexOf(LF, this.#searched);
    this.#searched = end < 0 ? bytes.length : end + 1;
    return end < 0 ? undefined : end;
  }
}

function requestIn(line: string): RequestLine {
  const [, method, target, version] = REQUEST_LINE.exec(line) ?? [];
  if (method === undefined || target === undefined || version === undefined) {
    throw new HttpHeadError("the first line is not an HTTP request line");
  }
  if (!version.startsWith("1.") && !(method === "PRI" && target === "*" && version === "2.0")) {
    throw new HttpHeadError("unknown HTTP version");
  }
  return { method, target, version };
}

/** Reads all headers up to the blank line, which has arrived. */
function headersIn(bytes: Buffer, from: number): HttpHeader[] {
  const headers: HttpHeader[] = [];
  for (let at = from; ; ) {
    const end = bytes.indexOf(LF, at);
    const line = textOf(bytes, at, end);
    if (line === "") return headers;
    headers.push(readField(line));
    at = end + 1;
  }
}

/** Returns all values of a header. @param name in lower case */
export function valuesOf({ headers }: Pick<HttpHead, "headers">, name: string): string[] {
  return headers.filter((header) => header.name === name).map(({ value }) => value);
}

/** @see RFC 9112, section 5 */
function readField(line: string): HttpHeader {
  const [, name, value] = FIELD_LINE.exec(line) ?? [];
  if (name === undefined || value === undefined) throw new HttpHeadError("a line of the head is not a header");
  return { name: name.toLowerCase(), value: withoutBlanksAround(value) };
}

/** Removes spaces and tabs only: `trim` also removes characters that belong to the value. */
function withoutBlanksAround(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isBlank(text[from])) from += 1;
  while (to > from && isBlank(text[to - 1])) to -= 1;
  return text.slice(from, to);
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t";
}

/** Returns the line that ends at this LF, without the line end. */
function textOf(bytes: Buffer, from: number, end: number): string {
  return bytes.toString("latin1", from, end > from && bytes[end - 1] === CR ? end - 1 : end);
}
