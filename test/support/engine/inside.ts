/** A wakeport in a container, from the sources of this checkout. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";
import { connecting, type Peer } from "../net/tcp.ts";
import type { TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";
import { PORT } from "./wakeport.ts";

const CHECKOUT = path.join(import.meta.dirname, "../../..");
const SOCKET = "/var/run/docker.sock";
const CONFIG = "/etc/wakeport";

export interface InsideOptions {
  /** The name of the target, its port, and further keys of the service. */
  readonly to: string;
  readonly port?: number;
  readonly service?: Readonly<Record<string, unknown>>;
  /** A network, "host", or `container:…`. */
  readonly network?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export class Inside implements AsyncDisposable {
  readonly container: TestContainer;
  readonly #port: number;
  readonly #folder: string;

  private constructor(container: TestContainer, listenPort: number, folder: string) {
    this.container = container;
    this.#port = listenPort;
    this.#folder = folder;
  }

  /** Starts one, and waits until it listens. */
  static async open(lab: Lab, { to, port = PORT, service, network, labels = {} }: InsideOptions): Promise<Inside> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    // Free on this machine, where wakeport listens if it is in the host network.
    const [listenPort, admin] = [await freePort(), await freePort()];
    const config = {
      admin: { listen: `127.0.0.1:${admin}` },
      shutdown: { targets: "leave" },
      services: { it: { ports: [`${listenPort}:${port}`], container: to, stop_grace: "2s", ...service } },
    };
    // JSON is YAML.
    await writeFile(path.join(folder, "wakeport.yaml"), JSON.stringify(config));
    const container = await lab.container({
      image: "node",
      command: ["node", "/app/src/main.ts", "run"],
      binds: [`${CHECKOUT}:/app:ro`, `${folder}:${CONFIG}:ro`, `${SOCKET}:${SOCKET}`],
      labels,
      ...(network !== undefined && { network }),
    });
    const inside = new Inside(container, listenPort, folder);
    await container.start();
    await inside.#waitForLog('"event":"started"');
    return inside;
  }

  /** A client that connects to `address`. */
  connect(address: string): Peer {
    return connecting(this.#port, address);
  }

  /** Connects and returns the greeting. */
  async greeting(address: string): Promise<string> {
    using peer = this.connect(address);
    await eventually("a greeting", () => peer.text !== "" || peer.fate !== "open");
    assert.equal(peer.fate === "ECONNRESET", false, await this.container.output());
    return peer.text;
  }

  /** Asserts that a client is reset. @returns the log */
  async refusal(address: string): Promise<string> {
    using peer = this.connect(address);
    assert.equal(await peer.ended(), "ECONNRESET");
    return this.#waitForLog('"event":"target.failed"');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.container.remove();
    await rm(this.#folder, { recursive: true });
  }

  /** Waits until its log contains `what`. @returns the log */
  async #waitForLog(what: string): Promise<string> {
    let log = "";
    await eventually(`the log contains ${what}`, async () => {
      log = await this.container.output();
      return log.includes(what) || (await this.container.state())?.Running === false;
    });
    assert.ok(log.includes(what), log);
    return log;
  }
}
