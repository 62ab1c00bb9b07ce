/** Settings of `protocol: ftp`. */
import net from "node:net";
import { z } from "zod";
import { readIp } from "../../net/ip.ts";
import { type Context, effective, key, section, started } from "./key.ts";

const ftpSection = {
  public_address: key(
    z.ipv4({ error: ({ input }) => addressHint(String(input)) }).refine((address) => isUnicast(address), {
      error: ({ input }) => `clients cannot connect to ${String(input)}: write the address that they use`,
    }),
    { description: "The IPv4 address in replies to PASV; default: the address that the client connected to" },
  ),
};

export const ftpKeys = {
  ftp: key(section(ftpSection), { description: "Settings of FTP", ...started, needs: "tcp" }),
};

function addressHint(input: string): string {
  const [, address] = /^(\d+\.\d+\.\d+\.\d+)[/:]\d+$/.exec(input) ?? [];
  if (address !== undefined) return `the address has no port or prefix: write "${address}"`;
  const hint = 'write the IPv4 address that clients use, for example "203.0.113.5"';
  return net.isIPv6(input) ? `${hint}; IPv6 clients use EPSV, which needs no address` : hint;
}

/** Returns false for 0.0.0.0, multicast and broadcast. An invalid address is reported by the step before. */
function isUnicast(address: string): boolean {
  if (!net.isIPv4(address)) return true;
  const first = Number(address.split(".")[0]);
  return first > 0 && first < 224;
}

export function resolveFtp({ own, defaults, protocol, report }: Context<typeof ftpKeys>) {
  if (own.ftp !== undefined && protocol !== "ftp") {
    const hint = 'add "protocol: ftp", or remove it';
    report(`"ftp" has no effect with "protocol: ${protocol}"`, { key: "ftp", hint });
  }
  const publicAddress = readIp(effective(ftpSection, own.ftp, defaults.ftp).public_address ?? "");
  return { ftp: publicAddress === undefined ? {} : { publicAddress } };
}
