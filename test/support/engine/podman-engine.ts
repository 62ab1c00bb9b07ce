/** Podman as an engine, in its own network namespace with a route from here. */
import { type ExecFileOptions, execFile, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { processNumber } from "../free-port.ts";
import { engineVersion } from "./engine.ts";

const exec = promisify(execFile);
const SCRIPT = path.join(import.meta.dirname, "../../engine/podman");
/** Sockets below it must have short paths. */
const FOLDER = "/tmp/wpp-";
const COMMAND_MS = 90_000;

const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";

/** Returns false if Podman can run or is required, otherwise the reason. */
export async function cannotHavePodman(): Promise<string | false> {
  // Its images come from the default engine.
  const can =
    process.getuid?.() === 0 &&
    spawnSync("podman", ["--version"]).status === 0 &&
    (await engineVersion()) !== undefined;
  return !isRequired && !can && "NO PODMAN: as root on Debian, test/engine/up and test/engine/tools bring it";
}

export class PodmanEngine implements AsyncDisposable {
  readonly #folder: string;
  readonly #link: { readonly here: string; readonly there: string; readonly net: string };
  #pid = 0;

  private constructor(folder: string, number: number) {
    this.#folder = folder;
    this.#link = { here: `wpp${number}h`, there: `wpp${number}t`, net: `10.214.${number}` };
  }

  /** Starts it, with the tests' images. */
  static async open(): Promise<PodmanEngine> {
    const engine = new PodmanEngine(await mkdtemp(FOLDER), await processNumber());
    try {
      await engine.start();
      await engine.#connectNetworks();
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.#folder}/podman.sock`;
  }

  /** An IPv6 subnet with a route from here. */
  get subnet6(): string {
    return `${this.#prefix}:6::/64`;
  }

  /** Starts its service, for the first time or again. */
  async start(): Promise<void> {
    await run(SCRIPT, "start", this.#folder, `${this.#link.net}.128/25`);
    this.#pid = Number(await readFile(path.join(this.#folder, "podman.pid"), "utf8"));
  }

  /** Kills the service, and waits until it is gone. Its containers keep running. */
  async kill(): Promise<void> {
    process.kill(this.#pid, "SIGKILL");
    const isThere = `grep -q '^State:[[:space:]]*[^Z]' /proc/${this.#pid}/status`;
    await run("timeout", "30", "sh", "-c", `while ${isThere}; do sleep 0.05; done`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("ip", "link", "del", this.#link.here).catch(() => {});
    await run(SCRIPT, "stop", this.#folder);
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The prefix of its IPv6 addresses. */
  get #prefix(): string {
    return `fd10:214:${this.#link.net.split(".").at(-1)}`;
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
    await run("ip", "addr", "add", `${this.#prefix}::1/64`, "dev", here, "nodad");
    await run("ip", "-n", namespace, "addr", "add", `${this.#prefix}::2/64`, "dev", there, "nodad");
    await run("ip", "route", "add", this.subnet6, "via", `${this.#prefix}::2`);
  }
}

async function run(file: string, ...args: string[]): Promise<void> {
  const options: ExecFileOptions = { timeout: COMMAND_MS };
  await exec(file, args, options);
}
