/** A wakeport with one inetd service, for tests. */

import { freePort } from "../free-port.ts";
import { connect, type Peer } from "../net/tcp.ts";
import { temporaryFile } from "../temporary-file.ts";
import { Program } from "./program.ts";

export interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly port: number;
  readonly admin: number;
}

/** A wakeport with one inetd service, `it`. @param env additional environment of wakeport */
export async function start(
  inetd: string,
  more = "",
  services = "",
  env: Readonly<Record<string, string>> = {},
): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [port, admin] = [await freePort(), await freePort()];
  const yaml = `admin: { listen: "127.0.0.1:${admin}" }
log: { level: debug }
${more}
services:
  it: { ports: ["${port}"], inetd: ${inetd}, ${services} }\n`;
  const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
  const program = stack.use(new Program(["run", "-c", file.path], env));
  await program.logged("started");
  const owned = stack.move();
  return { program, port, admin, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Connects, sends everything, and waits for the end. */
export async function exchange(port: number, words = "", host?: string): Promise<Peer> {
  const peer = await connect(port, host);
  peer.end(words);
  await peer.ended();
  return peer;
}
