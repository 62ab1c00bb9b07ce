/** A real image registry (Debian's docker-registry) on loopback, behind a relay that can hold its responses back. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type Dockerode from "dockerode";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";

const BASE = "wakeport-test/busybox:latest";
const isInstalled = spawnSync("docker-registry", ["--version"]).status === 0;
const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";

/** The reason that there is no registry; false if there is one or it is required. */
export const noRegistry: string | false =
  !isInstalled && !isRequired && "NO docker-registry: as root on Debian, test/engine/tools brings it";

export class Registry implements AsyncDisposable {
  readonly #docker: Dockerode;
  readonly #folder: string;
  readonly #port: number;
  readonly #child: ChildProcess;
  readonly #relay: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #held = new Set<net.Socket>();
  readonly #images: string[] = [];
  /** The number of response bytes that may still pass. */
  #allowance = Number.POSITIVE_INFINITY;

  private constructor(docker: Dockerode, parts: { folder: string; port: number; child: ChildProcess }) {
    this.#docker = docker;
    this.#folder = parts.folder;
    this.#port = parts.port;
    this.#child = parts.child;
    this.#relay = net.createServer((client) => this.#connect(client));
  }

  static async open(docker: Dockerode): Promise<Registry> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    const port = await freePort();
    const config = {
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: folder } },
      http: { addr: `127.0.0.1:${port}` },
    };
    const file = path.join(folder, "config.yml");
    await writeFile(file, JSON.stringify(config));
    // The child must die with this process.
    const command = ["--pdeathsig", "KILL", "docker-registry", "serve", file];
    const child = spawn("setpriv", command, { stdio: "ignore", env: { PATH: process.env["PATH"] } });
    const registry = new Registry(docker, { folder, port, child });
    registry.#relay.listen(0, "127.0.0.1");
    await once(registry.#relay, "listening");
    await eventually("the registry listens", () => listens(port));
    return registry;
  }

  /** The name of an image in it. */
  name(image: string): string {
    return `127.0.0.1:${(this.#relay.address() as net.AddressInfo).port}/${image}`;
  }

  /** Pushes an image with a unique layer of `megabytes`, and removes it from the engine. @returns its name */
  async publish(image: string, megabytes: number): Promise<string> {
    const [repository = "", tag = ""] = image.split(":");
    const repo = `127.0.0.1:${this.#port}/${repository}`;
    const Cmd = ["dd", "if=/dev/urandom", "of=/layer", "bs=1000000", `count=${megabytes}`];
    const container = await this.#docker.createContainer({ Image: BASE, Cmd, Labels: { "wakeport-test": "registry" } });
    await container.start();
    await container.wait();
    await container.commit({ repo, tag });
    await container.remove();
    const pushed = this.#docker.getImage(`${repo}:${tag}`);
    const stream = await pushed.push({ tag, authconfig: {} });
    await once(stream.resume(), "end");
    await pushed.remove();
    this.#images.push(this.name(image));
    return this.name(image);
  }

  /** Passes `bytes` more of its responses, and then nothing until `release`. */
  hold(bytes: number): void {
    this.#allowance = bytes;
  }

  release(): void {
    this.#allowance = Number.POSITIVE_INFINITY;
    for (const socket of this.#held) socket.resume();
    this.#held.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const image of this.#images) {
      await this.#docker
        .getImage(image)
        .remove({ force: true })
        .catch(() => {});
    }
    for (const socket of this.#sockets) socket.destroy();
    this.#relay.close();
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
    await rm(this.#folder, { recursive: true });
  }

  #connect(client: net.Socket): void {
    const upstream = net.connect(this.#port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      this.#allowance -= chunk.length;
      client.write(chunk);
      if (this.#allowance > 0) return;
      upstream.pause();
      this.#held.add(upstream);
    });
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
