/**
 * The server behind the relay: `node matrix-server.ts DATA_PORT CONTROL_PORT`.
 *
 * The first line of a data connection is `echo`, or an id by which the harness controls it through the
 * control port. Connections that never greet (a relay's readiness probe) are only counted while they are open.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Command, Reply } from "./control.ts";
import { Endpoint, type Report } from "./endpoint.ts";

const ORPHAN_GRACE_MS = 5_000;

const open = new Set<Socket>();
const endpoints = new Map<string, Endpoint>();

function accept(socket: Socket): void {
  open.add(socket);
  socket.on("close", () => open.delete(socket));
  socket.on("error", () => {
    // The endpoint, if the connection has one, reports it.
  });
  readGreeting(socket);
}

function readGreeting(socket: Socket): void {
  let head = Buffer.alloc(0);
  const endSilentPeer = (): void => {
    socket.end();
  };
  const take = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const newline = head.indexOf("\n");
    if (newline === -1) return;
    socket.off("data", take).off("end", endSilentPeer).pause();
    if (newline + 1 < head.length) socket.unshift(head.subarray(newline + 1));
    serve(socket, head.toString("latin1", 0, newline));
  };
  socket.on("data", take).on("end", endSilentPeer);
}

function serve(socket: Socket, greeting: string): void {
  if (greeting === "echo") {
    socket.pipe(socket);
    return;
  }
  endpoints.set(greeting, new Endpoint(socket));
  socket.resume();
}

function obey(command: Command): Report | null {
  if (command.op === "count") return null;
  if (command.op === "sweep") {
    for (const socket of open) socket.resetAndDestroy();
    return null;
  }
  const endpoint = endpoints.get(command.id);
  if (endpoint === undefined) return null;
  if (command.op === "send" || command.op === "sendAndEnd") endpoint[command.op](command.bytes);
  else if (command.op !== "report") endpoint[command.op]();
  return endpoint.report();
}

function takeCommands(socket: Socket): void {
  createInterface(socket).on("line", (line) => {
    const report = obey(JSON.parse(line) as Command);
    const reply: Reply = { open: open.size, report };
    socket.write(`${JSON.stringify(reply)}\n`);
  });
  socket.on("error", () => {
    // A close always follows.
  });
  // The harness is done or dead: the relay gets some time to stop this program.
  socket.on("close", () => setTimeout(() => process.exit(0), ORPHAN_GRACE_MS));
}

const [dataPort, controlPort] = process.argv.slice(2).map(Number);
const data = createServer({ allowHalfOpen: true }, accept);
data.listen({ host: "127.0.0.1", port: dataPort, backlog: 4096 }, () => {
  createServer(takeCommands).listen({ host: "127.0.0.1", port: controlPort });
});
