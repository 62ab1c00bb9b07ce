import http from "node:http";
import type { StatusRange } from "../config/config.ts";
import { AnsweredError, type NamedProbe, until } from "./probe.ts";

const ANSWER_MS = 5_000;

interface Request {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** Ready when GET `path` on `port` answers with one of the statuses of `expected`, both ends included. */
export function httpProbe(port: number, path: string, expected: StatusRange): NamedProbe {
  return {
    name: `http ${path} on ${port}`,
    check: ({ address: host, port: own = port }, signal) =>
      until((attemptSignal) => answers({ host, port: own, path }, expected, attemptSignal), signal),
  };
}

function answers(asked: Request, { from, to }: StatusRange, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const request = http.get({ ...asked, agent: false, signal: limit }, (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      if (status >= from && status <= to) return resolve();
      const wanted = from === to ? `${from}` : `${from}-${to}`;
      reject(new AnsweredError(`${asked.path} answered ${status}, not ${wanted}`));
    });
    request.on("error", reject);
  });
}
