/**
 * PostgreSQL: ready when it answers a startup message with anything except cannot_connect_now, like pg_isready. The
 * user and the database exist on nearly every server, because servers log unknown ones.
 */
import { escapeControls } from "../net/escape.ts";
import type { Parsed } from "../net/peek.ts";
import type { ReadinessCheck } from "./exchange.ts";
import { AnsweredError } from "./probe.ts";

const USER = "postgres";
const PROTOCOL_3 = 0x0003_0000;
const CANNOT_CONNECT_NOW = "57P03";
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);
/** Length of a message header: type and length. */
const HEADER_LENGTH = 5;
/** Longer messages are not sent before a login. */
const MAX_BYTES = 32 * 1024;
/** First byte of a TLS alert, from a server that accepts only TLS. */
const TLS_ALERT = 0x15;

type Answer =
  | { readonly kind: "session" | "password" | "tls" }
  | { readonly kind: "error"; readonly code: string; readonly message: string };

export function postgresCheck(): ReadinessCheck {
  let answer: Answer | undefined;
  return {
    name: "postgres session",
    missing: "has not answered a startup message",
    limitMs: 10_000,
    check: async (exchange, signal) => {
      exchange.send(startupMessage(USER));
      answer = await exchange.receive(readAnswer, signal);
      if (answer.kind === "error" && answer.code === CANNOT_CONNECT_NOW)
        throw new AnsweredError(`answers "${escapeControls(answer.message)}" (${CANNOT_CONNECT_NOW})`);
    },
    // A server that waits for a password logs an error for any other message.
    quit: async (exchange) => {
      if (answer?.kind === "session") exchange.send(TERMINATE);
    },
  };
}

function startupMessage(user: string): Buffer {
  const parameters = Buffer.from(`user\0${user}\0database\0${user}\0application_name\0wakeport\0\0`);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(head.length + parameters.length, 0);
  head.writeUInt32BE(PROTOCOL_3, 4);
  return Buffer.concat([head, parameters]);
}

/** @throws AnsweredError if the bytes are not an answer of PostgreSQL */
export function readAnswer(bytes: Buffer): Parsed<Answer> | undefined {
  if (bytes[0] === TLS_ALERT) return { value: { kind: "tls" }, used: 0 };
  if (bytes.length < HEADER_LENGTH) return undefined;
  const used = 1 + bytes.readUInt32BE(1);
  if (used < HEADER_LENGTH || used > MAX_BYTES)
    throw new AnsweredError("does not answer a startup message as PostgreSQL does");
  if (bytes.length < used) return undefined;
  const body = bytes.subarray(HEADER_LENGTH, used);
  switch (String.fromCharCode(bytes[0] ?? 0)) {
    case "R":
      return { value: { kind: body.length >= 4 && body.readUInt32BE(0) === 0 ? "session" : "password" }, used };
    case "v":
      return { value: { kind: "password" }, used };
    case "E":
      return { value: readError(body), used };
    default:
      throw new AnsweredError("does not answer a startup message as PostgreSQL does");
  }
}

/** Fields of a message: a letter, text, and a zero byte. */
function readError(body: Buffer): Answer {
  const fields = new Map(
    body
      .toString()
      .split("\0")
      .map((field) => [field.slice(0, 1), field.slice(1)]),
  );
  return { kind: "error", code: fields.get("C") ?? "", message: fields.get("M") ?? "" };
}
