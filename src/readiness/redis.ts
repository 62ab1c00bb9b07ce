/**
 * Redis: ready when it answers PING. While it loads its data it answers -LOADING; a replica without data of its master
 * answers -MASTERDOWN. Any other error counts as ready: clients handle -NOAUTH, -BUSY and -DENIED themselves.
 */
import type net from "node:net";
import tls from "node:tls";
import { escapeControls } from "../net/escape.ts";
import { ClosedError, type Exchange, type ReadinessCheck, readLine } from "./exchange.ts";
import { AnsweredError } from "./probe.ts";

const PING = "*1\r\n$4\r\nPING\r\n";
const NOT_READY = /^-(LOADING|MASTERDOWN)\b/;

/** After a close without an answer the next attempt uses TLS, then again plain text. */
export function redisCheck(): ReadinessCheck {
  let usesTls = false;
  return {
    name: "redis PING",
    missing: "has not answered PING",
    limitMs: 10_000,
    secure: (socket) => (usesTls ? encrypted(socket) : socket),
    check: async (exchange, signal) => {
      exchange.send(PING);
      const answer = await exchange.receive(readLine, signal).catch((error: unknown) => {
        if (!(error instanceof ClosedError)) throw error;
        if (usesTls && usedTls(exchange)) return undefined;
        usesTls = !usesTls;
        throw error;
      });
      if (answer !== undefined && NOT_READY.test(answer))
        throw new AnsweredError(`answers PING with "${escapeControls(answer)}"`);
    },
  };
}

function encrypted(socket: net.Socket): tls.TLSSocket {
  // PING is not a secret, so the certificate is not checked.
  return tls.connect({ socket, rejectUnauthorized: false });
}

/** Whether the server took part in a TLS handshake, and so demands a client certificate. */
function usedTls({ socket, error }: Exchange): boolean {
  const isAlert = error !== undefined && "code" in error && /^ERR_SSL_.*ALERT/.test(String(error.code));
  return isAlert || (socket instanceof tls.TLSSocket && socket.getProtocol() !== null && socket.bytesRead > 0);
}
