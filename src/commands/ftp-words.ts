/** What `wakeport check` remarks on FTP. */
import type { Service } from "../config/config.ts";

/** Undefined for a service that does not speak FTP, or has all that it may need. */
export function ftpWords({ protocol, data }: Pick<Service, "protocol" | "data">): string | undefined {
  if (protocol !== "ftp" || data.length > 0) return undefined;
  return 'data connections lead by way of wakeport, but for clients that encrypt (AUTH TLS): for those passive mode needs "data:" ports, see docs/ftp.md';
}
