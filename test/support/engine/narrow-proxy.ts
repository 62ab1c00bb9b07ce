/**
 * The filtering proxy of compose/hardened (haproxy) in front of an engine's socket, which allows the requests of wakeport only.
 * With WAKEPORT_TEST_PROXY=1 the wakeports of all engine tests use it, but not the tests themselves.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { eventually } from "../eventually.ts";

const CONFIG = path.join(import.meta.dirname, "../../../compose/hardened/socket-proxy/haproxy.cfg");
const SOCKET = "/var/run/docker.sock";
/** The path of Debian's package, which may not be in PATH. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin`;

/** The permissions that wakeport needs, as named in haproxy.cfg. */
export type Right =
  | "PING"
  | "VERSION"
  | "EVENTS"
  | "LIST"
  | "INSPECT"
  | "STATS"
  | "ALLOW_START"
  | "ALLOW_STOP"
  | "ALLOW_PAUSE"
  | "ALLOW_UNPAUSE";

const rights: Readonly<Record<Right, "1">> = {
  PING: "1",
  VERSION: "1",
  EVENTS: "1",
  LIST: "1",
  INSPECT: "1",
  STATS: "1",
  ALLOW_START: "1",
  ALLOW_STOP: "1",
  ALLOW_PAUSE: "1",
  ALLOW_UNPAUSE: "1",
};

export interface NarrowProxyOptions {
  /** The engine's socket; default: the engine of test/engine/up. */
  readonly socketPath?: string;
  /** The denied permissions. */
  readonly without?: Right;
  /** The time after which a silent connection is closed; default: 10m. */
  readonly idle?: string;
  /** The listen address (`127.0.0.1:2375`); default: a unix socket. */
  readonly bind?: string;
}

const isInstalled = spawnSync("haproxy", ["-v"], { env: { PATH } }).status === 0;
const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";

/** The reason that there is no haproxy; false if there is one or it is required. */
export const cannotProxy: string | false =
  !isInstalled && !isRequired && "NO haproxy: as root on Debian, test/engine/tools brings it";

export class NarrowProxy implements AsyncDisposable {
  readonly #options: NarrowProxyOptions;
  readonly #folder: string = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  #child: ChildProcess | undefined;

  private constructor(options: NarrowProxyOptions) {
    this.#options = options;
  }

  static async open(options: NarrowProxyOptions = {}): Promise<NarrowProxy> {
    const proxy = new NarrowProxy(options);
    await proxy.#start(options.without);
    return proxy;
  }

  /** The value for `docker.host`. */
  get host(): string {
    const { bind } = this.#options;
    return bind === undefined ? `unix://${this.#socketPath}` : `tcp://${bind}`;
  }

  /** Restarts it with all permissions. */
  async allowAll(): Promise<void> {
    await this.#stop();
    await this.#start(undefined);
  }

  /** Kills the process synchronously, for exit handlers. */
  kill(): void {
    this.#child?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    this.kill();
  }

  get #socketPath(): string {
    return path.join(this.#folder, "proxy.sock");
  }

  async #start(without: Right | undefined): Promise<void> {
    const { socketPath = SOCKET, idle = "10m", bind = `unix@${this.#socketPath}` } = this.#options;
    const surroundings = { PATH, SOCKET: socketPath, BIND: bind, IDLE: idle };
    const env = { ...surroundings, ...rights, ...(without && { [without]: "0" }) };
    // The child must die with this process.
    const command = ["--pdeathsig", "KILL", "haproxy", "-db", "-f", CONFIG];
    const child = spawn("setpriv", command, { env, stdio: ["ignore", "ignore", "inherit"] });
    // The child must not keep this process alive.
    child.unref();
    this.#child = child;
    await eventually("the proxy listens", async () => {
      if (child.exitCode !== null) throw new Error("haproxy does not start");
      return this.#listens();
    });
  }

  async #stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.ref();
    child.kill("SIGKILL");
    await exited;
  }

  async #listens(): Promise<boolean> {
    const { bind } = this.#options;
    const socket = net.connect(bind === undefined ? { path: this.#socketPath } : addressOf(bind));
    try {
      await once(socket, "connect");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}

function addressOf(bind: string): net.TcpNetConnectOpts {
  const { hostname, port } = new URL(`tcp://${bind}`);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/** Whether the wakeports of tests use the proxy; tests then do not expect the denied logs. */
export const isProxied: boolean = process.env["WAKEPORT_TEST_PROXY"] === "1";

let shared: Promise<NarrowProxy> | undefined;

/** The engine's address for a wakeport under test: the default socket or a proxy. */
export async function engineHost(): Promise<string | undefined> {
  if (!isProxied) return undefined;
  shared ??= NarrowProxy.open().then((proxy) => {
    process.on("exit", () => proxy.kill());
    return proxy;
  });
  return (await shared).host;
}
