import http from "node:http";
import { type NamedProbe, until } from "./probe.ts";

const ANSWER_MS = 5_000;

/** Ready when GET `path` on `port` answers with a status from 200 to 399. */
export function httpProbe(port: number, path: string): NamedProbe {
  return {
    name: `http ${path} on ${port}`,
    check: (host, signal) => until((attemptSignal) => answersWell({ host, port, path }, attemptSignal), signal),
  };
}

function answersWell(options: { host: string; port: number; path: string }, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const request = http.get({ ...options, agent: false, signal: limit }, (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      if (status >= 200 && status < 400) resolve();
      else reject(new Error(`${options.path} answered ${status}`));
    });
    request.on("error", reject);
  });
}
