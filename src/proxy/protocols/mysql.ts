/**
 * MySQL and MariaDB: held in silence, because their greeting has the server's version, what it can do, and the salt for the
 * password: only the server itself can say it. The client's own word comes after it.
 *
 * When it was in vain, a client gets an ERR packet in the place of the greeting, as from a server that has too many.
 */

import { notAvailable } from "./messages.ts";
import type { Protocol } from "./protocol.ts";
import { silence } from "./raw.ts";

/** ER_SERVER_SHUTDOWN: "server shutdown in progress". */
const SERVER_SHUTDOWN = 1053;
const ERR = 0xff;

export const mysql: Protocol = {
  hold: ({ progress }) => ({
    ...silence,
    refuse: () => Promise.resolve(errPacket(SERVER_SHUTDOWN, notAvailable(progress.service))),
  }),
};

/**
 * An error in the place of a greeting: the first packet of a connection, which nothing was agreed on yet, and so without
 * an SQL state. MySQL's client/server protocol, ERR_Packet.
 */
export function errPacket(code: number, message: string): Buffer {
  const text = Buffer.from(message);
  const packet = Buffer.alloc(4 + 3 + text.length);
  packet.writeUIntLE(3 + text.length, 0, 3);
  // At 3 is the number of the packet: 0.
  packet.writeUInt8(ERR, 4);
  packet.writeUInt16LE(code, 5);
  text.copy(packet, 7);
  return packet;
}
