/** How each kind of name is read of what a client says first, and what it is told that cannot be led anywhere. */

import type { NameKind } from "../../net/hostname.ts";
import { HttpHeadError, HttpHeadReader } from "../../net/http-head.ts";
import type { Parsed } from "../../net/peek.ts";
import type { UnroutedReason } from "../unrouted.ts";
import { ClientHelloError, ClientHelloReader } from "./client-hello.ts";
import { hostOf } from "./http-host.ts";

/** A client's name, absent when it says none. */
export interface ClientName {
  readonly name: string | undefined;
}

/** More than this no client says before its name is there, in bytes. */
export const MAX_PREAMBLE_BYTES: number = 16 * 1024;

interface NameReader {
  /** Creates a reader for one client. It consumes nothing: the destination gets all bytes. */
  readonly reader: () => (bytes: Buffer) => Parsed<ClientName> | undefined;
  readonly rejectionOf: (reason: UnroutedReason, cause: unknown) => Buffer | undefined;
}

/** How clients speak that say a name of this kind. */
export const nameReaders: Readonly<Record<NameKind, NameReader>> = {
  host: {
    reader: () => {
      const reader = new HttpHeadReader();
      return (bytes) => {
        const head = reader.read(bytes);
        return head && { value: { name: hostOf(head) }, used: 0 };
      };
    },
    rejectionOf: refuseRequest,
  },
  sni: {
    reader: () => {
      const reader = new ClientHelloReader();
      return (bytes) => {
        const hello = reader.read(bytes);
        return hello && { value: { name: hello.serverName }, used: 0 };
      };
    },
    rejectionOf: refuseHello,
  },
};

/** Whether a client has said something that is not of its kind. */
export function isMalformed(error: unknown): error is Error {
  return error instanceof HttpHeadError || error instanceof ClientHelloError;
}

const answers: Readonly<Partial<Record<UnroutedReason, readonly [status: string, words: string]>>> = {
  // RFC 9110, section 15.5.20
  unknown_name: ["421 Misdirected Request", "There is no service of this name here."],
  no_name: ["421 Misdirected Request", "The request names no service."],
  timeout: ["408 Request Timeout", "The request did not come in time."],
  malformed: ["400 Bad Request", "The request cannot be understood."],
};

function refuseRequest(reason: UnroutedReason): Buffer | undefined {
  const [status, words] = answers[reason] ?? [];
  if (status === undefined) return undefined;
  const body = `${words}\n`;
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

function refuseHello(reason: UnroutedReason, cause: unknown): Buffer | undefined {
  if (reason === "unknown_name" || reason === "no_name") return alert(UNRECOGNIZED_NAME);
  // Who speaks something else than TLS would not understand.
  return cause instanceof ClientHelloError && !cause.isStranger ? alert(DECODE_ERROR) : undefined;
}

function alert(description: number): Buffer {
  return Buffer.from([ALERT, 3, 3, 0, 2, FATAL, description]);
}
