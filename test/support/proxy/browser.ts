/** Requests of a browser, and a parser for responses. */

/** Returns the request for a typed address. @param more additional headers */
export function navigation(path = "/", more: Readonly<Record<string, string>> = {}): string {
  const fields = {
    Host: "app.localhost",
    Connection: "keep-alive",
    "Upgrade-Insecure-Requests": "1",
    Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    ...more,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

export interface Answer {
  readonly status: string;
  /** Names in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
  /** Whether the body is complete. */
  readonly isWhole: boolean;
}

/** Parses a response, which may be incomplete; undefined before its head is complete. @throws if it is malformed */
export function answerOf(bytes: Buffer): Answer | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [status = "", ...lines] = bytes.subarray(0, end).toString().split("\r\n");
  const fields = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  const rest = bytes.subarray(end + 4);
  if (fields.get("transfer-encoding") !== "chunked") {
    return { status, fields, body: rest.toString(), isWhole: rest.length === Number(fields.get("content-length")) };
  }
  const { chunks, isWhole } = chunksOf(rest);
  return { status, fields, body: Buffer.concat(chunks).toString(), isWhole };
}

function chunksOf(bytes: Buffer): { chunks: Buffer[]; isWhole: boolean } {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return { chunks, isWhole: false };
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (Number.isNaN(size)) throw new Error("the chunk has no valid length");
    if (size === 0) return { chunks, isWhole: bytes.length === lineEnd + 4 };
    if (bytes.length < lineEnd + 4 + size) return { chunks, isWhole: false };
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 4 + size;
  }
}
