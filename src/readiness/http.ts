import http from "node:http";
import type net from "node:net";
import { abortable } from "../async/wait.ts";
import type { ReadySpec } from "../config/config.ts";
import { maskUrl } from "../config/mask.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../net/proxy-protocol.ts";
import { AnsweredError, afterHeader, type NamedProbe, retryUntilReady } from "./probe.ts";
import { PROBE_DIAL_MS } from "./tcp.ts";

const ANSWER_MS = 5_000;
/** Time for the rest of an answer, so that the connection is not closed in the middle. */
const BODY_MS = 1_000;

export type HttpPart = Omit<Extract<ReadySpec, { readonly kind: "http" }>, "kind">;

/**
 * Returns a probe that succeeds when GET `path` on `port` is answered with a status within the expected range.
 *
 * @param send version of a PROXY protocol header to send first, with wakeport's own addresses
 */
export function httpProbe(port: number, part: HttpPart, send?: ProxyVersion): NamedProbe {
  const { path, headers = {}, status: expected } = part;
  const shown = maskUrl(path);
  return {
    name: `http ${shown} on ${port}${afterHeader(send)}`,
    check: ({ address: host, port: own = port }, signal) =>
      retryUntilReady(async (attemptSignal, onProgress) => {
        const socket = await dial({ host, port: own, timeoutMs: PROBE_DIAL_MS, signal: attemptSignal, isProbe: true });
        onProgress(`it accepts connections, but has not answered ${shown} yet`);
        if (send !== undefined) socket.write(proxyHeader(send));
        const request = http.get({ host, port: own, path, headers, createConnection: () => socket });
        const late = AbortSignal.timeout(ANSWER_MS);
        const status = await statusOf(request, socket, AbortSignal.any([attemptSignal, late])).catch((error) => {
          if (error !== late.reason) throw error;
          throw new AnsweredError(`${shown} was not answered within ${ANSWER_MS / 1_000} s`);
        });
        if (status >= expected.from && status <= expected.to) return;
        const wanted = expected.from === expected.to ? `${expected.from}` : `${expected.from}-${expected.to}`;
        throw new AnsweredError(`${shown} answered ${status}, not ${wanted}`);
      }, signal),
  };
}

/** Closes the connection if `signal` is aborted before the answer. */
async function statusOf(request: http.ClientRequest, socket: net.Socket, signal: AbortSignal): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  request.on("error", reject);
  request.on("response", (response) => {
    drain(response, socket);
    resolve(response.statusCode ?? 0);
  });
  try {
    return await abortable(promise, signal);
  } catch (error) {
    if (signal.aborted) closeGracefully(socket);
    throw error;
  }
}

/** Reads the rest of an answer in the background, for at most 1 s. */
function drain(response: http.IncomingMessage, socket: net.Socket): void {
  socket.unref();
  const timer = setTimeout(() => closeGracefully(socket), BODY_MS);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
  response.on("error", () => {});
  response.resume();
}
