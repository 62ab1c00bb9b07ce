import type net from "node:net";

/** Resolves when the kernel has all written bytes: the socket can then be passed to another process. */
export function flushed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.write("", () => resolve());
  });
}
