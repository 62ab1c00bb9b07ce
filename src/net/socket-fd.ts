import type net from "node:net";

/**
 * Returns the descriptor of a connection, which Node does not document.
 *
 * @throws Error if the connection is closed
 */
export function socketFd(socket: net.Socket): number {
  const handle: unknown = "_handle" in socket ? socket._handle : undefined;
  const isOpen = typeof handle === "object" && handle !== null && "fd" in handle;
  if (!isOpen || typeof handle.fd !== "number" || handle.fd < 0) throw new Error("the connection has no descriptor");
  return handle.fd;
}
