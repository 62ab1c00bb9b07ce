import http from "node:http";
import net from "node:net";
import type { StatusRange } from "../config/config.ts";
import { maskUrl } from "../config/mask.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-header.ts";
import { AnsweredError, afterHeader, type NamedProbe, until } from "./probe.ts";

const ANSWER_MS = 5_000;

interface Request {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly send?: ProxyVersion | undefined;
  readonly onConnect: () => void;
}

/**
 * Ready when GET `path` on `port` answers with one of the statuses of `expected`, both ends included.
 *
 * @param send what it expects before the request: a header of the PROXY protocol, here for nobody else than wakeport
 */
export function httpProbe(port: number, path: string, expected: StatusRange, send?: ProxyVersion): NamedProbe {
  const shown = maskUrl(path);
  return {
    name: `http ${shown} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      until((attemptSignal, meets) => {
        const onConnect = (): void => meets(`it accepts connections, and has not answered to ${shown} yet`);
        return answers({ host, port: own, path, send, onConnect }, expected, attemptSignal);
      }, signal),
  };
}

function answers(asked: Request, { from, to }: StatusRange, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = AbortSignal.timeout(ANSWER_MS);
    const limit = AbortSignal.any([signal, late]);
    const { host, port, path, send, onConnect } = asked;
    const createConnection = (): net.Socket => {
      const socket = net.connect({ host, port }, onConnect);
      if (send !== undefined) socket.write(proxyHeader(send));
      return socket;
    };
    const request = http.get({ host, port, path, createConnection, signal: limit }, (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      if (status >= from && status <= to) return resolve();
      const wanted = from === to ? `${from}` : `${from}-${to}`;
      reject(new AnsweredError(`${maskUrl(path)} answered ${status}, not ${wanted}`));
    });
    request.on("error", (error) => {
      const isLate = late.aborted && !signal.aborted;
      reject(isLate ? new AnsweredError(`${maskUrl(path)} was not answered within ${ANSWER_MS / 1_000} s`) : error);
    });
  });
}
