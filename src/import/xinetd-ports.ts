/** Where a service listens: the attributes port, bind and v6only, and the name of the service itself. */
import net from "node:net";
import type { PortNames } from "../config/values/etc-services.ts";
import { UnitError } from "../config/values/units.ts";
import { type Conversion, entryOf } from "./conversion.ts";
import type { Entry } from "./draft.ts";
import { wholeNumber } from "./xinetd-limits.ts";
import type { Setting } from "./xinetd-settings.ts";
import { wordsOf } from "./xinetd-target.ts";

/** An entry of `ports`, or why there cannot be one. */
export type Port = { readonly entry: Entry; readonly text: string } | { readonly reason: string };

export function portsOf(name: string, flags: ReadonlySet<string>, made: Conversion, names: PortNames): Port {
  const port = made.take("port");
  const bind = made.take("bind");
  const v6only = made.take("v6only");
  const isUnlisted = wordsOf(made.take("type")).includes("UNLISTED");
  const [written] = port?.parts ?? [];
  const number = written && wholeNumber(written.text);
  if (written !== undefined && (number === undefined || number < 1 || number > 65_535)) {
    return { reason: `port: "${written.text}" is no port` };
  }
  let listed: number | undefined;
  try {
    listed = isUnlisted ? undefined : names(name, "tcp");
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    if (number === undefined) return { reason: error.message };
    made.disable(written?.place, `${error.message}; without the type UNLISTED xinetd disables the service`);
  }
  if (number === undefined && listed === undefined) return { reason: "it is UNLISTED, and has no port" };
  if (number !== undefined && listed !== undefined && number !== listed) {
    made.disable(
      written?.place,
      `port: "${name}" has the port ${listed} in /etc/services, so xinetd disables the service`,
    );
  }
  const listener = number === undefined && /^(?=.*[a-z])[\w.+-]+$/i.test(name) ? name : String(number ?? listed);
  const address = addressOf(bind, v6only, flags, made);
  const text = address === undefined ? listener : `${address}:${listener}`;
  const places = [port, bind, v6only].flatMap((one) => one?.places ?? []);
  const origin = [port && "port", bind && "bind", v6only && "v6only"].filter(Boolean).join(", ");
  const entry =
    origin === "" ? { value: [text], note: "the name of the service" } : entryOf([text], origin, { parts: [], places });
  return { entry, text };
}

function addressOf(
  bind: Setting | undefined,
  v6only: Setting | undefined,
  flags: ReadonlySet<string>,
  made: Conversion,
): string | undefined {
  const [host] = wordsOf(bind);
  const [only] = wordsOf(v6only);
  if (only !== undefined && only !== "yes" && only !== "no") {
    made.disable(v6only?.places[0], `v6only: "${only}" is neither yes nor no, for which xinetd disables the service`);
  } else if (only === "no") {
    made.warn(v6only?.places[0], "v6only = no: xinetd takes it for yes, whatever it says");
  }
  if (host !== undefined) {
    if (net.isIP(host) !== 0) return net.isIPv6(host) ? `[${host}]` : host;
    made.disable(bind?.places[0], `bind: "${host}" is a name: put its address before the port`);
    return undefined;
  }
  if (flags.has("IPv4") && !flags.has("IPv6")) return "0.0.0.0";
  return v6only === undefined ? undefined : "[::]";
}
