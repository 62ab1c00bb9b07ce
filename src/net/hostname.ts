/** Host names by which services share a port. */

/** Where the client's name is: in the TLS server name (RFC 6066, section 3), or in the HTTP Host header (RFC 9110, section 7.2). */
export type NameKind = (typeof nameKinds)[number];
export const nameKinds = ["sni", "host"] as const;

/** A service's names, all of one kind: exact names, wildcards `*.app.test`, or `*`. */
export interface Names {
  readonly kind: NameKind;
  readonly patterns: readonly string[];
}

/** Matches all names of no other service, and clients that send no name. */
export const ANY = "*";

/** Whether `pattern` matches each name that `other` matches. Both may be names or patterns. */
export function covers(pattern: string, other: string): boolean {
  return pattern === ANY || pattern === other || (pattern.startsWith("*.") && other.endsWith(pattern.slice(1)));
}

/** The longest DNS name. @see RFC 1035, section 2.3.4 */
const MAX_NAME = 253;
/** Underscores are not allowed in host names, but are common in container names. */
const NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/**
 * Returns a name in the form in which names are compared: lower case, without a final dot.
 *
 * @returns undefined if the text is not a valid ASCII host name
 */
export function readName(text: string): string | undefined {
  if (text.length > MAX_NAME + 1) return undefined;
  const name = text.replace(/\.$/, "");
  // The case is changed after the test: some letters outside ASCII have an ASCII lower case.
  return NAME.test(name) ? name.toLowerCase() : undefined;
}
