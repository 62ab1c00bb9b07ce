import http from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { ServiceDetails, StatusReport } from "../admin/api.ts";
import type { Config } from "../config/config.ts";
import { codeOf, messageOf } from "../errors.ts";

const ANSWER_MS = 3_000;
/** Pause before the next attempt if the connection was closed without a response. */
const RETRY_MS = 50;

/** No server, or a server that is not wakeport, answers at the address of the configuration. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

/**
 * Sends a request to the admin server of a running wakeport. The request is repeated if the server evicts the connection.
 *
 * @throws NoAnswerError
 */
export async function queryAdmin(
  { admin }: Pick<Config, "admin">,
  path: string,
): Promise<{ status: number; body: string }> {
  const host = reachable(admin.host);
  const signal = AbortSignal.timeout(ANSWER_MS);
  for (;;) {
    try {
      return await get({ host, port: admin.port, path, agent: false, signal });
    } catch (error) {
      if (codeOf(error) === "ECONNRESET" && !signal.aborted) await delay(RETRY_MS);
      else {
        const message = `no wakeport answers at ${host}:${admin.port}: ${messageOf(error)}${connectionHint(error)}`;
        throw new NoAnswerError(message, { cause: error });
      }
    }
  }
}

function get(options: http.RequestOptions): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", reject);
  });
}

/** Returns the status of a running wakeport. @throws NoAnswerError */
export async function fetchStatus(config: Pick<Config, "admin">): Promise<StatusReport> {
  const { status, body } = await queryAdmin(config, "/api/v1/services");
  const report = status === 200 ? parseReport(body) : undefined;
  if (report !== undefined) return report;
  const { host, port } = config.admin;
  throw new NoAnswerError(`the server at ${reachable(host)}:${port} is not wakeport`);
}

/**
 * Returns the details of one service, or undefined if the running wakeport has no service of this name.
 *
 * @throws NoAnswerError
 */
export async function fetchService(config: Pick<Config, "admin">, name: string): Promise<ServiceDetails | undefined> {
  const { status, body } = await queryAdmin(config, `/api/v1/services/${encodeURIComponent(name)}`);
  if (status === 404) return undefined;
  return JSON.parse(body) as ServiceDetails;
}

/** A changed admin.listen takes effect with a reload. */
function connectionHint(error: unknown): string {
  if (codeOf(error) !== "ECONNREFUSED") return "";
  return ": start it, use the -c FILE that it uses, or reload it if admin.listen was changed; in a container, run this command there";
}

/** Returns an address to dial for an address to listen on. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

function parseReport(body: string): StatusReport | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    const isReport = typeof parsed === "object" && parsed !== null && "services" in parsed;
    return isReport && Array.isArray(parsed.services) ? (parsed as StatusReport) : undefined;
  } catch {
    return undefined;
  }
}
