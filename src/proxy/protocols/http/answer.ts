/** The answers of wakeport itself: all of them are 503, so that nothing keeps them, and all of them are the last. */
import type { HttpHead } from "../../../net/http-head.ts";
import { acceptsHtml, isOwn } from "./navigation.ts";
import { entry, failure, policy } from "./waiting-page.ts";

/** What is known of a request: its head, or that it is no more than a beginning. */
export type Request = Pick<HttpHead, "method" | "headers">;

export interface Unavailable {
  readonly service: string;
  /** Why, for strangers. */
  readonly sentence: string;
  readonly retryAfterS: number;
}

/** A whole answer in plain text, or as a page for who takes HTML. @see RFC 9110, sections 9.3.2, 10.2.3 and 15.6.4 */
export function unavailable(request: Request, { service, sentence, retryAfterS }: Unavailable): Buffer {
  const isPage = acceptsHtml(request);
  const body = isPage
    ? `${entry(`${service} is not available`)}${failure(`${service} is not available`, sentence)}`
    : `Service unavailable. ${sentence}\n`;
  const head = headOf(isPage ? "text/html" : "text/plain", retryAfterS, [
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(isPage ? [policyFor(isOwn(request))] : []),
  ]);
  return Buffer.from(request.method === "HEAD" ? head : head + body);
}

/** The head of a page that comes in pieces. @param isOwnNavigation see Navigation */
export function pageHead(isOwnNavigation: boolean, retryAfterS: number): string {
  return headOf("text/html", retryAfterS, [
    "Transfer-Encoding: chunked",
    policyFor(isOwnNavigation),
    // Of nginx and its like: pass the pieces on as they come.
    "X-Accel-Buffering: no",
  ]);
}

/** @see RFC 9112, section 7.1 */
export function chunk(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}

/** Nothing follows. */
export const lastChunk: Buffer = Buffer.from("0\r\n\r\n");

/**
 * A page without an origin asks anew as a stranger, with the cookies and the marks of a request from another site. A page of
 * the site itself would launder what another site began: browsers take its reload for the site's own wish.
 */
function policyFor(isOwnNavigation: boolean): string {
  return `Content-Security-Policy: ${policy}${isOwnNavigation ? "" : "; sandbox allow-scripts"}`;
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
