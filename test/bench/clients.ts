import { connect } from "node:net";

/** The outcome of one client. */
export interface Visit {
  readonly ok: boolean;
  /** From connect to the last byte, in milliseconds. */
  readonly ms: number;
  readonly error?: string;
}

/** Connects, sends a line, and expects its echo and an orderly close. */
export function visit(port: number, line: string, deadlineMs: number): Promise<Visit> {
  const began = performance.now();
  const { promise, resolve } = Promise.withResolvers<Visit>();
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let answer = "";
  const finish = (error?: string): void => {
    clearTimeout(timer);
    socket.destroy();
    const ms = performance.now() - began;
    resolve(error === undefined ? { ok: true, ms } : { ok: false, ms, error });
  };
  const timer = setTimeout(() => finish("no answer in time"), deadlineMs);
  socket.on("error", (error) => finish(error.message));
  socket.on("data", (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.on("end", () => finish(answer === `${line}\n` ? undefined : `answered ${JSON.stringify(answer)}`));
  socket.end(`${line}\n`);
  return promise;
}

/** A script for Node: an echo server on port 7. `listen` are options of its listen call, `more` is further code. */
export function echoServer(listen: string, more = ""): string {
  return `const server = require("net").createServer({ allowHalfOpen: true }, (s) => { s.on("error", () => {}); s.pipe(s); });
server.listen({ port: 7, ${listen} }); ${more}`;
}
