/** Which host a request of HTTP is for. */
import net from "node:net";
import { readName } from "../../net/hostname.ts";
import { type HttpHead, HttpHeadError, valuesOf } from "../../net/http-head.ts";

/**
 * The name that a request asks for, as `readName` gives it. A target in absolute form goes before the field Host, and
 * what CONNECT asks for is in its target. Addresses of IPv6 stay in their brackets.
 *
 * @returns undefined when it says none
 * @throws HttpHeadError for what means no one host: several fields Host, one that is no name
 * @see RFC 9112, section 3.2
 */
export function hostOf(head: Omit<HttpHead, "length">): string | undefined {
  const [host, ...more] = valuesOf(head, "host");
  if (more.length > 0) throw new HttpHeadError("there are several fields Host");
  const own = host === undefined || host === "" ? undefined : readAuthority(host);
  const named = authorityIn(head);
  return named === undefined ? own : readAuthority(named);
}

/** What a target names besides a path. */
function authorityIn({ method, target }: Pick<HttpHead, "method" | "target">): string | undefined {
  if (method === "CONNECT") return target;
  if (target.startsWith("/") || target === "*") return undefined;
  const [, authority] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target) ?? [];
  if (authority === undefined || authority === "") throw new HttpHeadError("the target of the request is none");
  return authority;
}

/** `app.test`, `app.test:8080`, `[::1]:80`; never with a user, which RFC 9110 forbids. */
function readAuthority(text: string): string {
  const [, host = "", literal] = /^(\[([0-9a-f:.]+)\]|[^:[\]]*)(?::\d{0,5})?$/i.exec(text) ?? [];
  const isAddress = literal !== undefined && net.isIPv6(literal);
  const name = isAddress ? host.toLowerCase() : readName(host);
  if (name === undefined) throw new HttpHeadError("the host of the request is no name");
  return name;
}
