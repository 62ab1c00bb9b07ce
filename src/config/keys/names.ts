/** The names by which services share a port. */

import { z } from "zod";
import { type NameKind, nameKinds } from "../../net/hostname.ts";
import { type Service, serverFirst } from "../config.ts";
import { parseName } from "../values/host-patterns.ts";
import { oneOrMore, parsedBy } from "./common.ts";
import { type Context, key } from "./key.ts";
import type { portKeys } from "./ports.ts";

/** One name pattern, or a list. */
export function names(kind: NameKind) {
  return oneOrMore(z.string().transform(parsedBy((text: string) => parseName(text, kind))));
}

const examples = '"app.test", "*.app.test", "*"; several services may share a port';

export const nameKeys = {
  host: key(names("host"), {
    description: `Host names of HTTP requests for this service: ${examples}`,
    needs: "tcp",
    label: true,
  }),
  sni: key(names("sni"), {
    description: `Server names of TLS clients for this service: ${examples}`,
    needs: "tcp",
    label: true,
  }),
};

/** Protocols whose clients may begin with an HTTP request or with TLS. */
const protocols: Readonly<Record<NameKind, ReadonlySet<string>>> = {
  host: new Set(["raw", "http"]),
  sni: new Set(["raw"]),
};
const beginnings: Readonly<Record<NameKind, string>> = { host: "an HTTP request", sni: "TLS" };

export function resolveNames({
  own,
  target,
  protocol,
  report,
}: Context<typeof nameKeys & typeof portKeys>): Pick<Service, "names"> {
  const [kind, second] = nameKinds.filter((name) => own[name] !== undefined);
  if (kind === undefined) return {};
  const patterns = own[kind] ?? [];
  const fail = (message: string, hint: string): void => report(message, { key: kind, hint });
  if (second !== undefined) {
    fail('"sni" and "host" exclude each other', "write two services, which may have the same target");
  } else if (target.kind === "inetd") {
    const message = '"inetd" passes the connection itself to the program, so wakeport cannot read a name from it';
    fail(message, `remove "${kind}", or use "process"`);
  } else if (serverFirst.has(protocol)) {
    const message = `with "protocol: ${protocol}" the client sends nothing before the server does`;
    fail(message, `remove "${kind}", and give the service its own port`);
  } else if (!protocols[kind].has(protocol)) {
    fail(`clients of "protocol: ${protocol}" do not begin with ${beginnings[kind]}`, 'use "protocol: raw"');
  } else if (kind === "host" && own.data !== undefined) {
    // FTP clients that begin with TLS (port 990) may send a server name, but never a Host header.
    report('"data" is for FTP, and FTP clients send no host name', { key: "data", hint: 'remove "data" or "host"' });
  }
  const duplicate = patterns.find((pattern, index) => patterns.indexOf(pattern) !== index);
  if (duplicate !== undefined) fail(`"${duplicate}" is a duplicate`, "remove one of the two");
  return { names: { kind, patterns } };
}
