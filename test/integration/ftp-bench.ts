/** vsftpd in a container behind the real program, and a folder with what it and its clients need. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { BUILD_MS, run } from "../support/compose.ts";
import { type TestContainer, TestEngine } from "../support/containers.ts";
import { freePort, Program, temporaryFile } from "../support/program.ts";

const IMAGE = path.join(import.meta.dirname, "../../compose/ftp/vsftpd");
/** Below what the system gives to clients, so that none of them takes a port of a range. */
const LOWEST = 20_000;
const MOST_RANGES = 1_000;

/** Makes the image of compose/ftp under the name by which tests know it. */
export async function buildVsftpd(): Promise<void> {
  const label = "wakeport-test.base=1";
  await run("docker", ["build", "-q", "--label", label, "-t", "wakeport-test/vsftpd:latest", IMAGE], BUILD_MS);
}

export interface FtpOptions {
  /** Lines of vsftpd.conf, besides those that let anybody in. */
  readonly settings?: (range: readonly [first: number, last: number]) => string;
  /** What stands beside the ports of the service. */
  readonly service?: string;
  /** More services. */
  readonly others?: (container: string) => string;
  /** Of the host's, in the container. */
  readonly binds?: readonly string[];
}

export class FtpBench implements AsyncDisposable {
  readonly program: Program;
  readonly container: TestContainer;
  readonly port: number;
  readonly range: readonly [first: number, last: number];
  /** For files of the clients. */
  readonly folder: string;
  readonly #admin: number;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<FtpBench, "program" | "container" | "port" | "range" | "folder"> & { readonly admin: number },
    stack: AsyncDisposableStack,
  ) {
    this.program = parts.program;
    this.container = parts.container;
    this.port = parts.port;
    this.range = parts.range;
    this.folder = parts.folder;
    this.#admin = parts.admin;
    this.#stack = stack;
  }

  static async open({
    settings = () => "",
    service = "",
    others = () => "",
    binds = [],
  }: FtpOptions = {}): Promise<FtpBench> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    stack.defer(() => rm(folder, { recursive: true }));
    const [port, admin, range] = [await freePort(), await freePort(), await freeRange(5)];
    const own = { pasv_min_port: range[0], pasv_max_port: range[1] };
    const base = await readFile(path.join(IMAGE, "vsftpd.conf"), "utf8");
    const plain = base.split("\n").filter((line) => !line.startsWith("pasv_"));
    const lines = [...plain, ...Object.entries(own).map(([key, value]) => `${key}=${value}`), settings(range)];
    const conf = path.join(folder, "vsftpd.conf");
    await writeFile(conf, `${lines.join("\n")}\n`);
    const engine = stack.use(new TestEngine());
    const container = await engine.container({
      // Each bench has an engine of its own, which knows no names of the others.
      name: `wakeport-test-ftp-${process.pid}-${port}`,
      image: "vsftpd",
      command: ["vsftpd", "/etc/vsftpd.conf"],
      binds: [`${conf}:/etc/vsftpd.conf:ro`, ...binds],
    });
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services:
  ftp: { ports: ["127.0.0.1:${port}:21"], data: "127.0.0.1:${range.join("-")}", container: ${container.name},
    ready: { banner: "220" }, stop_grace: 2s, ${service} }
${others(container.name)}\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("engine.up");
    await program.logged("started");
    return new FtpBench({ program, container, port, range, folder, admin }, stack.move());
  }

  get url(): string {
    return `ftp://127.0.0.1:${this.port}`;
  }

  local(name: string): string {
    return path.join(this.folder, name);
  }

  curl(...args: string[]): Promise<string> {
    return run("curl", ["--silent", "--show-error", "--max-time", "30", ...args]);
  }

  /** Of the data connections that are over, how many were led to the server. */
  get transfers(): number {
    const closed = this.program.log.filter(({ event }) => event === "connection.closed");
    return closed.filter(({ front, outcome }) => outcome === "relayed" && front !== `127.0.0.1:${this.port}`).length;
  }

  async metric(sample: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#admin}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
    return Number(line?.slice(sample.length + 1));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Ports in a row that nobody listens on at this moment. */
async function freeRange(count: number): Promise<readonly [first: number, last: number]> {
  for (let attempt = 0; attempt < MOST_RANGES; attempt += 1) {
    const first = LOWEST + Math.floor(Math.random() * 10_000);
    const ports = Array.from({ length: count }, (_, at) => first + at);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return [first, first + count - 1];
  }
  throw new Error(`there are no ${count} free ports in a row`);
}

function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = net.createServer();
  server.once("error", () => resolve(false));
  server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  return promise;
}
