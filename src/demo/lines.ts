/** A line service: answers each line in capitals. Its argument is the port. */
import net from "node:net";
import { argv } from "node:process";
import { createInterface } from "node:readline";

net
  .createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    const lines = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
    lines.on("line", (line) => socket.write(`${line.toUpperCase()}\n`));
    lines.on("close", () => socket.end());
  })
  .listen(Number(argv[2]), "127.0.0.1");
