/**
 * Tells a person before a browser from everybody else who speaks HTTP. A page in the place of an answer breaks programs,
 * so whatever is in doubt is no navigation.
 */
import { type HttpHead, valuesOf } from "../../../net/http-head.ts";

export interface Navigation {
  /**
   * Whether it began on a page of the same site, or with the person alone. A page that reloads itself asks in its own
   * name: what another site began must not come back as if this one had.
   */
  readonly isOwn: boolean;
}

/** What a request says that a script or a download makes, or a browser that only looks ahead. */
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
 * What a browser asks for in order to show it in a window of its own; undefined for any other request.
 *
 * @see https://www.w3.org/TR/fetch-metadata/, which browsers send to localhost and over TLS alone; elsewhere
 *   `Upgrade-Insecure-Requests` tells a navigation from what a script asks for
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

/** Whether HTML is named among what the client takes; that it takes everything does not count. */
export function acceptsHtml(head: Pick<HttpHead, "headers">): boolean {
  const ranges = valuesOf(head, "accept").join(",").toLowerCase().split(",");
  return ranges.some((range) => {
    const [type, ...parameters] = range.split(";").map((part) => part.trim());
    return type === "text/html" && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/** See Navigation. */
export function isOwn(head: Pick<HttpHead, "headers">): boolean {
  const site = only(head, "sec-fetch-site");
  if (site !== undefined) return site === "none" || site === "same-origin";
  // It cannot be forged by another site, only left out.
  const referer = URL.parse(only(head, "referer") ?? "");
  return referer !== null && referer.host === only(head, "host")?.toLowerCase();
}

/** The value of a field that is there once; "" where it is there more often. */
function only(head: Pick<HttpHead, "headers">, name: string): string | undefined {
  const values = valuesOf(head, name);
  return values.length > 1 ? "" : values[0];
}
