/** What `wakeport check` remarks on FTP. */
import type { Service } from "../config/config.ts";
import { formatRange } from "../config/ports.ts";

/** Where active transfers come from, which no client connects to. */
const DATA_PORT = 20;

/** Undefined for a service that does not speak FTP, or has all that it may need. */
export function ftpWords({ protocol, data, ports }: Pick<Service, "protocol" | "data" | "ports">): string | undefined {
  if (protocol !== "ftp") return undefined;
  // Compose files publish passive ranges, and port 20, beside the port that clients connect to.
  const mistaken = ports.filter(({ target, count = 1 }) => count > 1 || target === DATA_PORT);
  if (mistaken.length > 0) {
    const shown = mistaken.map(({ front, count }) => formatRange(front, count)).join(", ");
    return `${shown} in "ports": clients are taken to begin a session of FTP there. Ports of data connections wake nothing: leave them out, or write those of passive mode in "data:", see docs/ftp.md`;
  }
  if (data.length > 0) return undefined;
  return 'data connections lead by way of wakeport, but for clients that encrypt (AUTH TLS): for those passive mode needs "data:" ports, see docs/ftp.md';
}
