/** A second engine that a test may kill and freeze, in its own network namespace with a route from here. */
import { type ExecFileOptions, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { processNumber } from "../free-port.ts";
import { type TestContainer, TestEngine } from "./containers.ts";
import { engineVersion } from "./engine.ts";

const exec = promisify(execFile);
const SCRIPT = path.join(import.meta.dirname, "../../engine/private");
const IMAGE = "wakeport-test/busybox:latest";
/** Sockets below it must have short paths. */
const FOLDER = "/tmp/wpt-";
const COMMAND_MS = 60_000;

/** Unique among the test processes of this machine, and at most 250. */
const linkNumber = await processNumber();

const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";
const canHaveEngine =
  (await engineVersion()) !== undefined && process.getuid?.() === 0 && existsSync("/usr/sbin/dockerd");

/** The reason that there is no second engine; false if it can run or is required. */
export const cannotHaveEngine: string | false =
  !isRequired && !canHaveEngine && "NO ENGINE OF ITS OWN: as root on Debian, test/engine/up brings one";

/** Echoes. The trap makes it exit on SIGTERM, which PID 1 ignores. */
const ECHO = 'trap "exit 0" TERM; nc -ll -p 7000 -e cat & wait';

export class PrivateEngine implements AsyncDisposable {
  readonly containers: TestEngine;
  readonly #folder: string;
  readonly #flags: readonly string[];
  readonly #link: Link;
  #pid = 0;

  private constructor(folder: string, flags: readonly string[]) {
    this.#folder = folder;
    this.#flags = flags;
    this.#link = link();
    this.containers = new TestEngine(this.socketPath);
  }

  /** Starts an engine with a small image. @param flags of dockerd; "--newer" before them selects a newer version */
  static async open(...flags: string[]): Promise<PrivateEngine> {
    const engine = new PrivateEngine(await mkdtemp(FOLDER), flags);
    try {
      await engine.start();
      await engine.#connectNetworks();
      await engine.load(IMAGE);
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  /** Its address from here, for flags such as `-H tcp://0.0.0.0:2375`. No other process can reach it. */
  static get address(): string {
    return `${link().net}.2`;
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.socketPath}`;
  }

  /** Starts it, for the first time or again. */
  async start(): Promise<void> {
    // Its iptables rules would only prevent forwarding from here to its containers.
    const bridge = ["--bip", `${this.#link.net}.129/25`, "--iptables=false"];
    const child = spawn(SCRIPT, ["start", this.#folder, ...this.#flags, ...bridge], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const [code] = await once(child, "exit");
    if (code !== 0) throw new Error("the private engine does not start");
    this.#pid = Number(await readFile(path.join(this.#folder, "netns.pid"), "utf8"));
  }

  /** Copies an image from the default engine. */
  async load(image: string): Promise<void> {
    await run("sh", "-c", `docker save ${image} | docker -H ${this.host} load`);
  }

  /** A stopped container that echoes on port 7000. */
  echo(): Promise<TestContainer> {
    return this.containers.container({ command: ["sh", "-c", ECHO] });
  }

  /** Kills the daemon, and waits until it is gone. */
  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    process.kill(this.#pid, signal);
    await run(
      "timeout",
      "30",
      "sh",
      "-c",
      `while grep -q '^State:[[:space:]]*[^Z]' /proc/${this.#pid}/status; do sleep 0.05; done`,
    );
  }

  freeze(): void {
    process.kill(this.#pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.#pid, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("ip", "link", "del", this.#link.here).catch(() => {});
    await run(SCRIPT, "stop", this.#folder);
    await rm(this.#folder, { recursive: true, force: true });
  }

  get socketPath(): string {
    return path.join(this.#folder, "docker.sock");
  }

  async #connectNetworks(): Promise<void> {
    const { here, there, net } = this.#link;
    const namespace = path.basename((await readFile(path.join(this.#folder, "netns"), "utf8")).trim());
    await run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace);
    await run("ip", "addr", "add", `${net}.1/30`, "dev", here);
    await run("ip", "link", "set", here, "up");
    await run("ip", "-n", namespace, "addr", "add", `${net}.2/30`, "dev", there);
    await run("ip", "-n", namespace, "link", "set", there, "up");
    await run("ip", "route", "add", `${net}.128/25`, "via", `${net}.2`);
  }
}

/** A pair of interfaces and the network between them. */
interface Link {
  readonly here: string;
  readonly there: string;
  readonly net: string;
}

/** A link for this process. */
function link(): Link {
  return { here: `wpt${linkNumber}h`, there: `wpt${linkNumber}t`, net: `10.213.${linkNumber}` };
}

async function run(file: string, ...args: string[]): Promise<void> {
  const options: ExecFileOptions = { timeout: COMMAND_MS };
  await exec(file, args, options);
}
