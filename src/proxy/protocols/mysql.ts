/**
 * MySQL and MariaDB. Clients get no bytes while they wait, because the greeting contains the server's version,
 * capabilities and salt. If the start fails, a client gets an ERR packet instead, as from a server with too many
 * connections.
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
    rejectionReply: () => Promise.resolve(errPacket(SERVER_SHUTDOWN, notAvailable(progress.service))),
  }),
};

/**
 * Returns an error as the first packet of a connection. Without a handshake it has no SQL state.
 *
 * @see MySQL's client/server protocol, ERR_Packet
 */
export function errPacket(code: number, message: string): Buffer {
  const text = Buffer.from(message);
  const packet = Buffer.alloc(4 + 3 + text.length);
  packet.writeUIntLE(3 + text.length, 0, 3);
  // Byte 3 is the number of the packet: 0.
  packet.writeUInt8(ERR, 4);
  packet.writeUInt16LE(code, 5);
  text.copy(packet, 7);
  return packet;
}
