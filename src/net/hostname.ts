/** The names by which services share a port: what the configuration may say, and what clients mean. */

/** Where a client says which name it wants: in TLS (RFC 6066, section 3), or in HTTP (RFC 9110, section 7.2). */
export type NameKind = (typeof nameKinds)[number];
export const nameKinds = ["sni", "host"] as const;

/** A service's names, all of one kind: exact ones, `*.app.test`, or `*` for whoever means nobody else. */
export interface Names {
  readonly kind: NameKind;
  readonly patterns: readonly string[];
}

/** For everybody who means nobody else, or says no name at all. */
export const ANY = "*";

/** Whether `pattern` matches each name that `other` matches. Both may be names or patterns. */
export function covers(pattern: string, other: string): boolean {
  return pattern === ANY || pattern === other || (pattern.startsWith("*.") && other.endsWith(pattern.slice(1)));
}

/** As long as a name of DNS may be. @see RFC 1035, section 2.3.4 */
const MAX_NAME = 253;
/** Underscores are no part of a host's name, but of many that people give to containers. */
const NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/**
 * A name in the one form in which names are compared: lower case, without the dot at its end.
 *
 * @returns undefined for what is no name of ASCII
 */
export function readName(text: string): string | undefined {
  if (text.length > MAX_NAME + 1) return undefined;
  const name = text.replace(/\.$/, "");
  // Only then in lower case: there are letters beyond ASCII whose lower case is in it.
  return NAME.test(name) ? name.toLowerCase() : undefined;
}
