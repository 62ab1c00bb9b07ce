/** The real wakeport in front of vsftpd in a container, with common clients. */
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { freePort } from "../free-port.ts";
import { Program } from "../program/program.ts";
import { temporaryFile } from "../temporary-file.ts";
import { BUILD_MS, run, succeeds } from "./compose.ts";
import { type TestContainer, TestEngine } from "./containers.ts";
import { engineVersion } from "./engine.ts";
import { isProxied } from "./narrow-proxy.ts";

export const IMAGE_FOLDER: string = path.join(import.meta.dirname, "../../../compose/ftp/vsftpd");

/** The reason that these tests cannot run; false if they can or must. */
export async function cannotServeFtp(): Promise<string | false> {
  if (isProxied) return "a narrow socket proxy lets no image be built";
  if (process.env["WAKEPORT_TEST_ENGINE"] === "required") return false;
  if ((await engineVersion()) === undefined) return "NO DOCKER ENGINE: as root on Debian, test/engine/up brings one";
  for (const tool of ["curl", "lftp"]) {
    if (!(await succeeds(tool, "--version"))) return `NO ${tool}: test/engine/tools brings it`;
  }
  return false;
}

/** Builds the image of the example under the name that test containers use. */
export async function buildVsftpd(): Promise<void> {
  await run(
    "docker",
    ["build", "-q", "-t", "wakeport-test/vsftpd:latest", "--label", "wakeport-test", IMAGE_FOLDER],
    BUILD_MS,
  );
}

export interface FtpBenchOptions {
  /** Further settings of vsftpd. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A shell command that runs before the server. */
  readonly before?: string;
  /** Further keys of the service, besides "protocol: ftp". */
  readonly service?: Readonly<Record<string, unknown>>;
  /** Further services. */
  readonly others?: (container: string) => Readonly<Record<string, unknown>>;
  /** The listen address; default: 127.0.0.1. */
  readonly address?: string;
  /** The server's port; default: 21. */
  readonly targetPort?: number;
  /** In the syntax of `docker run --volume`. */
  readonly binds?: readonly string[];
}

export class FtpBench implements AsyncDisposable {
  readonly program: Program;
  readonly container: TestContainer;
  readonly folder: string;
  readonly port: number;
  readonly admin: string;
  readonly host: string;
  readonly #owned: AsyncDisposable;

  private constructor(
    parts: Pick<FtpBench, "program" | "container" | "folder" | "port" | "admin" | "host">,
    owned: AsyncDisposable,
  ) {
    this.program = parts.program;
    this.container = parts.container;
    this.folder = parts.folder;
    this.port = parts.port;
    this.admin = parts.admin;
    this.host = parts.host;
    this.#owned = owned;
  }

  static async open(options: FtpBenchOptions = {}): Promise<FtpBench> {
    const {
      settings = {},
      before = "true",
      service = {},
      others = () => ({}),
      address = "127.0.0.1",
      binds = [],
      targetPort = 21,
    } = options;
    await using stack = new AsyncDisposableStack();
    const engine = stack.use(new TestEngine());
    const words = Object.entries(settings).map(([key, value]) => `-o${key}=${value}`);
    const command = ["sh", "-c", `${before} && exec vsftpd /etc/vsftpd.conf ${words.join(" ")}`];
    // Each bench has its own engine client, which does not know the names of the others.
    const name = `wakeport-test-ftp-${process.pid}-${randomInt(2 ** 32)}`;
    const container = await engine.container({ name, image: "vsftpd", command, binds });
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    stack.defer(() => rm(folder, { recursive: true }));
    const [port, adminPort] = [await freePort(), await freePort()];
    const admin = `127.0.0.1:${adminPort}`;
    const host = address.includes(":") ? `[${address}]` : address;
    const ftp = {
      ports: [`${host === "" ? "" : `${host}:`}${port}:${targetPort}`],
      container: container.name,
      protocol: "ftp",
      idle_timeout: "1s",
      stop_grace: "2s",
      ...service,
    };
    const services = { ftp, ...others(container.name) };
    // JSON is YAML.
    const config = JSON.stringify({ admin: { listen: admin }, shutdown: { drain: "1s" }, services });
    const file = stack.use(await temporaryFile("wakeport.yaml", config));
    const { DOCKER_HOST } = process.env;
    const program = stack.use(new Program(["run", "-c", file.path], DOCKER_HOST === undefined ? {} : { DOCKER_HOST }));
    await program.logged("container" in service ? "started" : "engine.up");
    return new FtpBench({ program, container, folder, port, admin, host }, stack.move());
  }

  get url(): string {
    return `ftp://${this.host}:${this.port}`;
  }

  local(name: string): string {
    return path.join(this.folder, name);
  }

  curl(...args: readonly string[]): Promise<string> {
    return run("curl", ["--silent", "--show-error", "--globoff", "--max-time", "60", ...args]);
  }

  /** @returns curl's output, including an unfinished session */
  async fails(...args: readonly string[]): Promise<string> {
    const isDone = this.curl("--verbose", "--stderr", "-", ...args);
    return await isDone.then(
      (reported) => assert.fail(`it works: ${reported}`),
      ({ stdout }: { readonly stdout: string }) => stdout,
    );
  }

  lftp(script: string): Promise<string> {
    const settings = "set net:timeout 30; set net:max-retries 1; set xfer:clobber yes";
    return run("lftp", ["--norc", "-c", `${settings}; ${script}`]);
  }

  /** @param lines of a script with `ftp`, connected and logged in @returns its output */
  python(lines: string, timeoutMs?: number): Promise<string> {
    const [host, port] = [JSON.stringify(this.host.replace(/[[\]]/g, "")), this.port];
    const begin = `import ftplib, io, sys\nftp = ftplib.FTP()\nftp.connect(${host}, ${port}, timeout=30)\nftp.login()\n`;
    return run("python3", ["-c", begin + lines], timeoutMs);
  }

  /** Uploads a file, downloads it, and compares them. */
  async there(name: string, bytes: number, ...flags: readonly string[]): Promise<void> {
    const content = randomBytes(bytes);
    await writeFile(this.local(name), content);
    await this.curl(...flags, "--upload-file", this.local(name), `${this.url}/incoming/${name}`);
    await this.curl(...flags, "--output", this.local(`${name}.back`), `${this.url}/incoming/${name}`);
    assert.equal(md5(await readFile(this.local(`${name}.back`))), md5(content));
  }

  async metric(sample: string): Promise<number> {
    const lines = (await this.curl(`http://${this.admin}/metrics`)).split("\n");
    const found = lines.find((line) => line.startsWith(`${sample} `));
    assert.ok(found, `there is no ${sample}`);
    return Number(found.slice(sample.length + 1));
  }

  /** The number of closed data connections that were relayed to the server. */
  get transfers(): number {
    const closed = this.program.log.filter(({ event }) => event === "connection.closed");
    return closed.filter(
      ({ listener: listenPort, outcome }) => outcome === "relayed" && listenPort !== `${this.host}:${this.port}`,
    ).length;
  }

  async isAsleep(): Promise<boolean> {
    return (await this.metric('wakeport_service_state{service="ftp",state="asleep"}')) === 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned[Symbol.asyncDispose]();
  }
}

export interface PassiveRange {
  readonly first: number;
  /** The keys of the service. */
  readonly data: readonly string[];
  /** The settings of vsftpd. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Consecutive free ports, the same for both sides. */
export async function passiveRange(count = 10): Promise<PassiveRange> {
  const first = await freeRange(count);
  const last = first + count - 1;
  const settings = { pasv_min_port: String(first), pasv_max_port: String(last) };
  return { first, data: [`127.0.0.1:${first}-${last}`], settings };
}

/** @returns the first port */
async function freeRange(count: number): Promise<number> {
  for (;;) {
    // Below the ports that Linux chooses for clients.
    const first = randomInt(20_000, 30_000);
    const servers = await Promise.allSettled(Array.from({ length: count }, (_, index) => listening(first + index)));
    for (const server of servers) if (server.status === "fulfilled") server.value.close();
    if (servers.every(({ status }) => status === "fulfilled")) return first;
  }
}

async function listening(port: number): Promise<net.Server> {
  const server = net.createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

export function md5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("hex");
}
