/** The real program with a configuration that changes while it runs. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import type { StatusReport } from "../../../src/admin/api.ts";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";
import type { Peer } from "../net/tcp.ts";
import { temporaryFile } from "../temporary-file.ts";
import { Program } from "./program.ts";

/** Sends its pid and its word, then echoes. */
const echo = `require("net").createServer((s) => { s.on("error", () => {}); s.write(process.pid + " " + process.argv[2] + "\\n"); s.pipe(s); })
.listen(Number(process.argv[1]), "127.0.0.1")`;

export class Bench implements AsyncDisposable {
  readonly program: Program;
  readonly #file: string;
  readonly #admin: number;
  readonly #stack: AsyncDisposableStack;
  #reloads = 0;

  private constructor(program: Program, file: string, admin: number, stack: AsyncDisposableStack) {
    this.program = program;
    this.#file = file;
    this.#admin = admin;
    this.#stack = stack;
  }

  static async start(services: string, env: Readonly<Record<string, string>> = {}): Promise<Bench> {
    await using stack = new AsyncDisposableStack();
    const admin = await freePort();
    const file = stack.use(await temporaryFile("wakeport.yaml", fileOf(services, admin)));
    const program = stack.use(new Program(["run", "-c", file.path], env));
    await program.logged("started");
    return new Bench(program, file.path, admin, stack.move());
  }

  /** Replaces the services in the file and waits until they are in force. */
  async reload(services: string, event = "config.reloaded"): Promise<Record<string, unknown>> {
    await writeFile(this.#file, fileOf(services, this.#admin));
    this.program.child.kill("SIGHUP");
    this.#reloads += event === "config.reloaded" ? 1 : 0;
    return await this.program.logged(event, event === "config.reloaded" ? this.#reloads : 1);
  }

  async status(): Promise<StatusReport> {
    return (await (await fetch(`http://127.0.0.1:${this.#admin}/api/v1/services`)).json()) as StatusReport;
  }

  async metric(name: string): Promise<string | undefined> {
    const text = await (await fetch(`http://127.0.0.1:${this.#admin}/metrics`)).text();
    return text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")[1];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

function fileOf(services: string, admin: number): string {
  return `admin: { listen: "127.0.0.1:${admin}" }\nservices:\n${services}\n`;
}

export function echoService(name: string, listenPort: number, upstream: number, word = "one", more = ""): string {
  const command = JSON.stringify([process.execPath, "-e", echo, String(upstream), word]);
  return `  ${name}: { ports: ["127.0.0.1:${listenPort}"], process: { command: ${command}, listen: "127.0.0.1:${upstream}" }${more} }\n`;
}

export async function greeting(peer: Peer): Promise<string> {
  await eventually("a greeting", () => peer.text.includes("\n") || peer.fate !== "open");
  return peer.text.trim();
}

export async function isRefused(port: number): Promise<boolean> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect");
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
