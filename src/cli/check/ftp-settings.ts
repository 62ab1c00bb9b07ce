/** Prints the passive-mode settings that FTP servers behind data ports need. */
import net from "node:net";
import { rewritesDataAddresses, type Service, type ServicePort } from "../../config/config.ts";
import { sharedWithProcess } from "../../config/keys/ports.ts";
import { formatRange } from "../../config/values/ports.ts";

/** Placeholder for an unknown address of wakeport. */
const UNKNOWN_ADDRESS = "ADDRESS";

/** Returns the settings of each service with data ports, for three servers. */
export function ftpSettings(services: readonly Service[]): string[] {
  const withData = services.filter(({ enabled, data }) => enabled && data.length > 0);
  if (withData.length === 0) return [];
  const isUnknown = withData.some((service) => addressOf(service) === UNKNOWN_ADDRESS);
  const legend = isUnknown ? ` (${UNKNOWN_ADDRESS} = the address that clients use to reach wakeport)` : "";
  return [`passive-mode settings for your FTP servers${legend}:`, ...withData.flatMap(linesOf)];
}

function linesOf(service: Service): string[] {
  const { name, data, protocol } = service;
  const ports = data.map(({ listen: listener, count }) => formatRange(listener, count)).join(", ");
  const range = rangeOf(data);
  if (range === undefined)
    return [`  ${name}: ${ports}: FTP servers support a single range: write "data" as one range`];
  const [first, last] = range;
  const address = addressOf(service);
  const scope = rewritesDataAddresses.has(protocol)
    ? " (only for clients with TLS: wakeport announces ports to the others)"
    : "";
  const settings = {
    vsftpd: [`pasv_min_port=${first}`, `pasv_max_port=${last}`, ...(address ? [`pasv_address=${address}`] : [])],
    ProFTPD: [`PassivePorts ${first} ${last}`, ...(address ? [`MasqueradeAddress ${address}`] : [])],
    "pure-ftpd": [`PassivePortRange ${first} ${last}`, ...(address ? [`ForcePassiveIP ${address}`] : [])],
  };
  const lines = Object.entries(settings).map(([server, words]) => `    ${server.padEnd(9)}   ${words.join("   ")}`);
  return [`  ${name}: ${ports}${scope}`, ...lines, ...sharedLines(service)];
}

/** A process may share the data ports of wakeport only while wakeport announces them, which it cannot do with TLS. */
function sharedLines({ data, target }: Service): string[] {
  if (target.kind !== "process" || data.every((port) => sharedWithProcess(port, port, target) === undefined)) return [];
  return [
    `    the process cannot listen on these ports while wakeport does: for TLS use two addresses, such as "listen: 127.0.0.2:${target.listen.port ?? 21}" and "data: 127.0.0.1:${formatRange(data[0]?.listen ?? 0, data[0]?.count)}"`,
  ];
}

/** Returns the first and the last port, or undefined if a port between them is missing. */
function rangeOf(data: readonly ServicePort[]): readonly [number, number] | undefined {
  const ports = new Set(
    data.flatMap(({ listen: listener, count = 1 }) => Array.from({ length: count }, (_, at) => listener + at)),
  );
  const [first, last] = [Math.min(...ports), Math.max(...ports)];
  return last - first + 1 === ports.size ? [first, last] : undefined;
}

/** Returns the address for PASV replies, or undefined if all listeners are IPv6: EPSV replies have no address (RFC 2428). */
function addressOf({ ports }: Service): string | undefined {
  const listeners = new Set(
    ports.filter(({ protocol }) => protocol !== "udp").map(({ address }) => address ?? "0.0.0.0"),
  );
  const [only, ...others] = [...listeners].filter((address) => net.isIPv4(address));
  return only === "0.0.0.0" || others.length > 0 ? UNKNOWN_ADDRESS : only;
}
