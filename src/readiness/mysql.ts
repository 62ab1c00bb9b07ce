/**
 * MySQL and MariaDB: ready when the server sends its handshake. The probe then tries to log in without a password, in
 * the background: a close before the login counts as a connection error, and after `max_connect_errors` of them the
 * server blocks the client's host.
 */
import { escapeControls } from "../net/escape.ts";
import type { Parsed } from "../net/peek.ts";
import { GREETING_MS } from "./banner.ts";
import type { Exchange, ReadinessCheck } from "./exchange.ts";
import { AnsweredError } from "./probe.ts";

const USER = "wakeport";
const PLUGIN = "mysql_native_password";
/** ER_CON_COUNT_ERROR, ER_SERVER_SHUTDOWN. Other errors (host not allowed, host blocked) are permanent. */
const NOT_READY: ReadonlySet<number> = new Set([1040, 1053]);

const OK = 0x00;
const MORE_DATA = 0x01;
const HANDSHAKE_10 = 0x0a;
const AUTH_SWITCH = 0xfe;
const ERR = 0xff;
const COM_QUIT = Buffer.from([0x01]);
/** LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH. */
const CAPABILITIES = 0x0000_0001 | 0x0000_0200 | 0x0000_8000 | 0x0008_0000;
const MAX_PACKET_BYTES = 2 ** 24;
const UTF8MB4 = 45;
/** Limit of packets for a login. */
const MAX_PACKETS = 5;

interface Packet {
  readonly number: number;
  readonly payload: Buffer;
}

export const mysqlCheck: ReadinessCheck = {
  name: "mysql handshake",
  missing: "has not sent its handshake",
  // The server may resolve the client's address first.
  limitMs: GREETING_MS,
  check: async (exchange, signal) => {
    const { payload } = await exchange.receive(peekPacket, signal);
    if (payload[0] === HANDSHAKE_10) return;
    if (payload[0] !== ERR || payload.length < 3) throw new AnsweredError("does not greet as MySQL does");
    const code = payload.readUInt16LE(1);
    const text = payload.toString("utf8", 3).replace(/^#\w{5}/, "");
    if (NOT_READY.has(code)) throw new AnsweredError(`greets with "${escapeControls(text)}" (${code})`);
  },
  quit: logIn,
};

async function logIn(exchange: Exchange, signal: AbortSignal): Promise<void> {
  for (let count = 0; count < MAX_PACKETS; count += 1) {
    const { number, payload } = await exchange.receive(readPacket, signal);
    switch (payload[0]) {
      case HANDSHAKE_10:
        exchange.send(packet(number + 1, handshakeResponse()));
        break;
      case AUTH_SWITCH:
      case MORE_DATA:
        exchange.send(packet(number + 1, Buffer.alloc(0)));
        break;
      case OK:
        return exchange.send(packet(0, COM_QUIT));
      default:
        return;
    }
  }
}

/** HandshakeResponse41, with an empty password. */
function handshakeResponse(): Buffer {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(CAPABILITIES, 0);
  head.writeUInt32LE(MAX_PACKET_BYTES, 4);
  head.writeUInt8(UTF8MB4, 8);
  return Buffer.concat([head, Buffer.from(`${USER}\0\0${PLUGIN}\0`)]);
}

function packet(number: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head.writeUInt8(number % 256, 3);
  return Buffer.concat([head, payload]);
}

function readPacket(bytes: Buffer): Parsed<Packet> | undefined {
  if (bytes.length < 4) return undefined;
  const used = 4 + bytes.readUIntLE(0, 3);
  if (bytes.length < used) return undefined;
  return { value: { number: bytes.readUInt8(3), payload: bytes.subarray(4, used) }, used };
}

/** Reads a packet without consuming it. */
function peekPacket(bytes: Buffer): Parsed<Packet> | undefined {
  const found = readPacket(bytes);
  return found && { value: found.value, used: 0 };
}
