/** What FTP servers behind data ports have to be told, so that they tell their clients the right thing. */
import net from "node:net";
import { type Service, type ServicePort, tellsDataPorts } from "../../config/config.ts";
import { sharedWithProcess } from "../../config/keys/ports.ts";
import { formatRange } from "../../config/values/ports.ts";

/** Where it cannot be known at which address clients reach wakeport. */
const UNKNOWN_ADDRESS = "ADDRESS";

/** For each service with data ports, the lines of its server's configuration. */
export function ftpSettings(services: readonly Service[]): string[] {
  const withData = services.filter(({ enabled, data }) => enabled && data.length > 0);
  if (withData.length === 0) return [];
  const isUnknown = withData.some((service) => addressOf(service) === UNKNOWN_ADDRESS);
  const where = isUnknown ? ` (${UNKNOWN_ADDRESS}: the one at which clients reach wakeport)` : "";
  return [`what FTP servers have to say of data ports${where}:`, ...withData.flatMap(linesOf)];
}

function linesOf(service: Service): string[] {
  const { name, data, protocol } = service;
  const told = data.map(({ listen: listener, count }) => formatRange(listener, count)).join(", ");
  const range = rangeOf(data);
  if (range === undefined) return [`  ${name}: ${told}: servers know one range of ports: write "data" as one`];
  const [first, last] = range;
  const address = addressOf(service);
  const when = tellsDataPorts.has(protocol) ? " (for clients that use TLS: the others are told by wakeport)" : "";
  const settings = {
    vsftpd: [`pasv_min_port=${first}`, `pasv_max_port=${last}`, ...(address ? [`pasv_address=${address}`] : [])],
    ProFTPD: [`PassivePorts ${first} ${last}`, ...(address ? [`MasqueradeAddress ${address}`] : [])],
    "pure-ftpd": [`PassivePortRange ${first} ${last}`, ...(address ? [`ForcePassiveIP ${address}`] : [])],
  };
  const lines = Object.entries(settings).map(([server, words]) => `    ${server.padEnd(9)}   ${words.join("   ")}`);
  return [`  ${name}: ${told}${when}`, ...lines, ...sharedLines(service)];
}

/** Where clients of FTP are told ports by wakeport itself, a process may share them: but what it tells those of TLS is its own. */
function sharedLines({ data, target }: Service): string[] {
  if (target.kind !== "process" || data.every((port) => sharedWithProcess(port, port, target) === undefined)) return [];
  return [
    `    its process cannot listen there while wakeport does: for TLS let the two have an address each, as with "listen: 127.0.0.2:${target.listen.port ?? 21}" and "data: 127.0.0.1:${formatRange(data[0]?.listen ?? 0, data[0]?.count)}"`,
  ];
}

/** From the first to the last, when nothing is missing between them. */
function rangeOf(data: readonly ServicePort[]): readonly [number, number] | undefined {
  const ports = new Set(
    data.flatMap(({ listen: listener, count = 1 }) => Array.from({ length: count }, (_, at) => listener + at)),
  );
  const [first, last] = [Math.min(...ports), Math.max(...ports)];
  return last - first + 1 === ports.size ? [first, last] : undefined;
}

/** What PASV tells; undefined where all clients come by IPv6, for which servers tell the port alone (RFC 2428). */
function addressOf({ ports }: Service): string | undefined {
  const listeners = new Set(
    ports.filter(({ protocol }) => protocol !== "udp").map(({ address }) => address ?? "0.0.0.0"),
  );
  const [only, ...others] = [...listeners].filter((address) => net.isIPv4(address));
  return only === "0.0.0.0" || others.length > 0 ? UNKNOWN_ADDRESS : only;
}
