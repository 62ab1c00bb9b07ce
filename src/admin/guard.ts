/**
 * Decides which requests the admin server answers. A page of another site must not read a response through a browser, by
 * DNS rebinding or by a cross-origin request.
 */
import type http from "node:http";
import net from "node:net";
import { hostname } from "node:os";
import { covers } from "../net/hostname.ts";
import { type HttpHead, HttpHeadError } from "../net/http-head.ts";
import { hostOf } from "../proxy/routing/http-host.ts";

/** Names that no public DNS server resolves: RFC 6761, and the private-use top-level domain. */
const PRIVATE_SUFFIXES = [".localhost", ".internal"];

export interface Rejection {
  readonly status: 400 | 403 | 421;
  readonly message: string;
}

/**
 * Returns why a request is rejected, or undefined if it is allowed.
 *
 * @param allowedHosts names and patterns that are accepted in addition to the built-in ones
 */
export function rejectionOf(request: http.IncomingMessage, allowedHosts: readonly string[]): Rejection | undefined {
  let host: string | undefined;
  try {
    host = hostOf(headOf(request));
  } catch (error) {
    if (error instanceof HttpHeadError) return { status: 400, message: error.message };
    throw error;
  }
  if (host !== undefined && !isAccepted(host, allowedHosts)) {
    return { status: 421, message: `the host "${host}" is not allowed: add it to admin.allowed_hosts` };
  }
  if (isCrossOrigin(request)) return { status: 403, message: "cross-origin requests are not allowed" };
  return undefined;
}

/** An address, or a name without a dot (a compose service), cannot be rebound by another site. */
function isAccepted(host: string, allowedHosts: readonly string[]): boolean {
  if (host.startsWith("[") || net.isIPv4(host) || !host.includes(".")) return true;
  if (PRIVATE_SUFFIXES.some((suffix) => host.endsWith(suffix)) || host === hostname().toLowerCase()) return true;
  return allowedHosts.some((pattern) => covers(pattern, host));
}

/** A followed link is allowed, because the page with the link cannot read the response. */
function isCrossOrigin({ headers }: http.IncomingMessage): boolean {
  const { origin, host } = headers;
  if (origin !== undefined && URL.parse(origin)?.host !== URL.parse(`http://${host}`)?.host) return true;
  const site = headers["sec-fetch-site"];
  const isLink = headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document";
  return site !== undefined && site !== "same-origin" && site !== "none" && !isLink;
}

function headOf({ method = "", url = "", httpVersion, rawHeaders }: http.IncomingMessage): Omit<HttpHead, "length"> {
  const names = rawHeaders.filter((_, index) => index % 2 === 0);
  const headers = names.map((name, index) => ({ name: name.toLowerCase(), value: rawHeaders[2 * index + 1] ?? "" }));
  return { method, target: url, version: httpVersion, headers };
}
