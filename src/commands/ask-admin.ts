import http from "node:http";
import type { Config } from "../config/config.ts";

const ANSWER_MS = 3_000;

/** No wakeport answers at the address of the configuration. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

/**
 * Asks the admin server of a running wakeport.
 *
 * @throws NoAnswerError when there is none
 */
export function askAdmin({ admin }: Config, path: string): Promise<{ status: number; body: string }> {
  const host = admin.host === "0.0.0.0" ? "127.0.0.1" : admin.host === "::" ? "::1" : admin.host;
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(new NoAnswerError(`no wakeport answers at ${host}:${admin.port}: ${error.message}`, { cause: error }));
    const signal = AbortSignal.timeout(ANSWER_MS);
    const request = http.get({ host, port: admin.port, path, agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", fail);
  });
}
