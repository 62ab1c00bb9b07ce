/** Reads the host that an HTTP request is for. */
import net from "node:net";
import { readName } from "../../net/hostname.ts";
import { type HttpHead, HttpHeadError, valuesOf } from "../../net/http-head.ts";

/**
 * Returns undefined if the request names no host. The host of an absolute target overrides the Host header, and CONNECT
 * has the host in its target. IPv6 addresses stay in brackets.
 *
 * @throws HttpHeadError if the host is ambiguous (several Host headers) or not a valid name
 * @see RFC 9112, section 3.2
 */
export function hostOf(head: Omit<HttpHead, "length">): string | undefined {
  const [host, ...more] = valuesOf(head, "host");
  if (more.length > 0) throw new HttpHeadError("several Host headers");
  const own = host === undefined || host === "" ? undefined : readAuthority(host);
  const named = authorityIn(head);
  return named === undefined ? own : readAuthority(named);
}

/** Returns undefined if the request target is a path or `*`. */
function authorityIn({ method, target }: Pick<HttpHead, "method" | "target">): string | undefined {
  if (method === "CONNECT") return target;
  if (target.startsWith("/") || target === "*") return undefined;
  const [, authority] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target) ?? [];
  if (authority === undefined || authority === "") throw new HttpHeadError("the request target is not valid");
  return authority;
}

/** Parses `app.test`, `app.test:8080`, `[::1]:80`. RFC 9110 forbids a user name. */
function readAuthority(text: string): string {
  const [, host = "", literal] = /^(\[([0-9a-f:.]+)\]|[^:[\]]*)(?::\d{0,5})?$/i.exec(text) ?? [];
  const isAddress = literal !== undefined && net.isIPv6(literal);
  const name = isAddress ? host.toLowerCase() : readName(host);
  if (name === undefined) throw new HttpHeadError("the host of the request is not a valid name");
  return name;
}
