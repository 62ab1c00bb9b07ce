/** Responses of wakeport itself. All have status 503, so no cache stores them, and end the connection. */
import type { HttpHead } from "../../../net/http-head.ts";
import { acceptsHtml, isOwn } from "./navigation.ts";
import { failure, pageStart, policy } from "./page-html.ts";

/** A request, of which only the method may have arrived. */
export type Request = Pick<HttpHead, "method" | "headers">;

export interface Unavailable {
  readonly service: string;
  /** The reason in general words, without internal details. */
  readonly sentence: string;
  readonly retryAfterS: number;
}

/** Returns a complete response: HTML if the client accepts it, otherwise plain text. @see RFC 9110, sections 9.3.2, 10.2.3 and 15.6.4 */
export function unavailable(request: Request, { service, sentence, retryAfterS }: Unavailable): Buffer {
  const isPage = acceptsHtml(request);
  const body = isPage
    ? `${pageStart(`${service} is not available`)}${failure(`${service} is not available`, sentence)}`
    : `Service unavailable. ${sentence}\n`;
  const head = headOf(isPage ? "text/html" : "text/plain", retryAfterS, [
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(isPage ? [policyFor(isOwn(request))] : []),
  ]);
  return Buffer.from(request.method === "HEAD" ? head : head + body);
}

/** Returns the head of a response whose page is sent in pieces. @param isOwnNavigation see Navigation */
export function pageHead(isOwnNavigation: boolean, retryAfterS: number): string {
  return headOf("text/html", retryAfterS, [
    "Transfer-Encoding: chunked",
    policyFor(isOwnNavigation),
    // For nginx: forward the pieces without buffering.
    "X-Accel-Buffering: no",
  ]);
}

/** Returns a chunk of a chunked response. @see RFC 9112, section 7.1 */
export function chunk(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}

/** The end of a chunked response. */
export const lastChunk: Buffer = Buffer.from("0\r\n\r\n");

/**
 * Returns the policy header. Browsers treat the reload of a page as a request of its own site. If another site opened the
 * page, the sandbox removes its origin, so the reload keeps the marks and cookies of a cross-site request.
 */
function policyFor(isOwnNavigation: boolean): string {
  return `Content-Security-Policy: ${policy()}${isOwnNavigation ? "" : "; sandbox allow-scripts"}`;
}

function headOf(type: string, retryAfterS: number, more: readonly string[]): string {
  const lines = [
    "HTTP/1.1 503 Service Unavailable",
    `Content-Type: ${type}; charset=utf-8`,
    `Retry-After: ${retryAfterS}`,
    "Cache-Control: no-store",
    "Connection: close",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: SAMEORIGIN",
    "Referrer-Policy: same-origin",
    "X-Robots-Tag: noindex",
    ...more,
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}
