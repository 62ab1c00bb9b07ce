/**
 * Distinguishes navigations in a browser from all other requests. A page instead of the expected response breaks programs,
 * so a request that may not be a navigation is not treated as one.
 */
import { type HttpHead, valuesOf } from "../../../net/http-head.ts";

export interface Navigation {
  /** Whether the navigation started on a page of the same site, or was typed. @see policyFor in answer.ts */
  readonly isOwn: boolean;
}

/** Headers in requests of scripts, downloads and prefetches. */
const disqualifyingHeaders = [
  "upgrade",
  "range",
  "content-length",
  "transfer-encoding",
  "x-requested-with",
  "sec-purpose",
  "purpose",
  "x-purpose",
  "x-moz",
] as const;

/**
 * Returns undefined if the request is not a navigation of a top-level window. Browsers send Sec-Fetch headers only to
 * localhost and over TLS. In other requests `Upgrade-Insecure-Requests` marks a navigation.
 *
 * @see https://www.w3.org/TR/fetch-metadata/
 */
export function navigationOf(head: Omit<HttpHead, "length">): Navigation | undefined {
  const { method, version } = head;
  if (method !== "GET" || version !== "1.1" || !acceptsHtml(head)) return undefined;
  if (disqualifyingHeaders.some((name) => valuesOf(head, name).length > 0)) return undefined;
  const mode = only(head, "sec-fetch-mode");
  const dest = only(head, "sec-fetch-dest");
  if (mode === undefined && dest === undefined) {
    return only(head, "upgrade-insecure-requests") === "1" ? { isOwn: isOwn(head) } : undefined;
  }
  return mode === "navigate" && dest === "document" ? { isOwn: isOwn(head) } : undefined;
}

/** Returns whether `Accept` contains text/html. A wildcard does not count. */
export function acceptsHtml(head: Pick<HttpHead, "headers">): boolean {
  const ranges = valuesOf(head, "accept").join(",").toLowerCase().split(",");
  return ranges.some((range) => {
    const [type, ...parameters] = range.split(";").map((part) => part.trim());
    return type === "text/html" && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/** @see Navigation.isOwn */
export function isOwn(head: Pick<HttpHead, "headers">): boolean {
  const site = only(head, "sec-fetch-site");
  if (site !== undefined) return site === "none" || site === "same-origin";
  // Another site can omit the Referer, but not forge it.
  const referer = URL.parse(only(head, "referer") ?? "");
  return referer !== null && referer.host === only(head, "host")?.toLowerCase();
}

/** Returns the value of a header that occurs once; "" if it occurs more often. */
function only(head: Pick<HttpHead, "headers">, name: string): string | undefined {
  const values = valuesOf(head, name);
  return values.length > 1 ? "" : values[0];
}
