/** For each kind of name: reads it from a client's first bytes, and creates the reply to a client without a route. */

import type { NameKind } from "../../net/hostname.ts";
import { HttpHeadError, HttpHeadReader } from "../../net/http-head.ts";
import type { Parsed } from "../../net/peek.ts";
import type { UnroutedReason } from "../unrouted.ts";
import { ClientHelloError, ClientHelloReader } from "./client-hello.ts";
import { hostOf } from "./http-host.ts";

/** The result of a name reader. */
export interface ClientName {
  /** Undefined if the client sent no name. */
  readonly name: string | undefined;
}

/** Limit of the first bytes, up to the end of the name. */
export const MAX_PREAMBLE_BYTES: number = 16 * 1024;

interface NameReader {
  /** Creates a reader for one client. It consumes no bytes: the service gets all of them. */
  readonly reader: () => (bytes: Buffer) => Parsed<ClientName> | undefined;
  /** Returns undefined if the client is reset without a reply. */
  readonly rejectionOf: (reason: UnroutedReason, cause: unknown) => Buffer | undefined;
}

export const nameReaders: Readonly<Record<NameKind, NameReader>> = {
  host: {
    reader: () => {
      const reader = new HttpHeadReader();
      return (bytes) => {
        const head = reader.read(bytes);
        return head && { value: { name: hostOf(head) }, used: 0 };
      };
    },
    rejectionOf: httpReply,
  },
  sni: {
    reader: () => {
      const reader = new ClientHelloReader();
      return (bytes) => {
        const hello = reader.read(bytes);
        return hello && { value: { name: hello.serverName }, used: 0 };
      };
    },
    rejectionOf: tlsAlert,
  },
};

/** Whether a name reader has thrown this because of the client's bytes. */
export function isMalformed(error: unknown): error is Error {
  return error instanceof HttpHeadError || error instanceof ClientHelloError;
}

const replies: Readonly<Partial<Record<UnroutedReason, readonly [status: string, message: string]>>> = {
  // RFC 9110, section 15.5.20
  unknown_name: ["421 Misdirected Request", "No service has this name."],
  no_name: ["421 Misdirected Request", "The request names no service."],
  timeout: ["408 Request Timeout", "The request was not received in time."],
  malformed: ["400 Bad Request", "The request is malformed."],
};

function httpReply(reason: UnroutedReason): Buffer | undefined {
  const [status, message] = replies[reason] ?? [];
  if (status === undefined) return undefined;
  const body = `${message}\n`;
  const head = [
    `HTTP/1.1 ${status}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

/** @see RFC 8446, section 6, and RFC 6066, section 3 */
const ALERT = 21;
const FATAL = 2;
const UNRECOGNIZED_NAME = 112;
const DECODE_ERROR = 50;

function tlsAlert(reason: UnroutedReason, cause: unknown): Buffer | undefined {
  if (reason === "unknown_name" || reason === "no_name") return alert(UNRECOGNIZED_NAME);
  // Only a TLS client understands an alert.
  return cause instanceof ClientHelloError && cause.isTls ? alert(DECODE_ERROR) : undefined;
}

function alert(description: number): Buffer {
  return Buffer.from([ALERT, 3, 3, 0, 2, FATAL, description]);
}
