import { readIp } from "../../net/ip.ts";
import type { FtpPolicy, ProtocolName } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";
import type { ParsedPolicies } from "./schema-policies.ts";

/** What is particular to FTP. */
export function resolveFtp(
  name: string,
  { ftp: own }: ParsedService,
  { ftp: defaults }: ParsedPolicies,
  protocol: ProtocolName,
  report: Report,
): FtpPolicy {
  if (own !== undefined && protocol !== "ftp") {
    const message = `service "${name}": "ftp" has no meaning for the protocol "${protocol}"`;
    report({ path: ["services", name], key: "ftp", message, hint: 'add "protocol: ftp", or remove it' });
  }
  const ip = readIp(own?.public_address ?? defaults?.public_address ?? "");
  return ip === undefined ? {} : { publicAddress: ip };
}
