import http from "node:http";
import type net from "node:net";
import type { ReadySpec } from "../config/config.ts";
import { maskUrl } from "../config/mask.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-protocol.ts";
import { AnsweredError, afterHeader, type NamedProbe, until } from "./probe.ts";
import { PROBE_DIAL_MS } from "./tcp.ts";

const ANSWER_MS = 5_000;
/** Time for the rest of an answer, so that the connection is not closed within it. */
const BODY_MS = 1_000;

export type HttpPart = Omit<Extract<ReadySpec, { readonly kind: "http" }>, "kind">;

/**
 * Ready when GET `path` on `port` answers with one of the statuses, both ends included.
 *
 * @param send what it expects before the request: a header of the PROXY protocol, here for nobody else than wakeport
 */
export function httpProbe(port: number, part: HttpPart, send?: ProxyVersion): NamedProbe {
  const { path, headers = {} } = part;
  const shown = maskUrl(path);
  return {
    name: `http ${shown} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      until(async (attemptSignal, meets) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal });
        meets(`it accepts connections, and has not answered to ${shown} yet`);
        if (send !== undefined) socket.write(proxyHeader(send));
        const request = http.get({ host, port: own, path, headers, createConnection: () => socket });
        await answers(request, socket, part, attemptSignal);
      }, signal),
  };
}

function answers(request: http.ClientRequest, socket: net.Socket, part: HttpPart, signal: AbortSignal): Promise<void> {
  const { status: expected } = part;
  const shown = maskUrl(part.path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = setTimeout(() => {
    closeGracefully(socket);
    reject(new AnsweredError(`${shown} was not answered within ${ANSWER_MS / 1_000} s`));
  }, ANSWER_MS);
  const abort = (): void => {
    closeGracefully(socket);
    reject(signal.reason);
  };
  signal.addEventListener("abort", abort, { once: true });
  request.on("error", reject);
  request.on("response", (response) => {
    drain(response, socket);
    const status = response.statusCode ?? 0;
    if (status >= expected.from && status <= expected.to) return resolve();
    const wanted = expected.from === expected.to ? `${expected.from}` : `${expected.from}-${expected.to}`;
    reject(new AnsweredError(`${shown} answered ${status}, not ${wanted}`));
  });
  return promise.finally(() => {
    clearTimeout(late);
    signal.removeEventListener("abort", abort);
  });
}

/** Reads the rest of an answer for a second at most, in the background. */
function drain(response: http.IncomingMessage, socket: net.Socket): void {
  socket.unref();
  const timer = setTimeout(() => closeGracefully(socket), BODY_MS);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
  response.on("error", () => {});
  response.resume();
}
