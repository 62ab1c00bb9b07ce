import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const DOCKER_MS = 60_000;

/** A container of the default engine, created without a start and removed at the end. */
export class Container implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Creates a container that runs `script` with Node as PID 1. */
  static async createNode(name: string, script: string, options: readonly string[] = []): Promise<Container> {
    const label = ["--label", "wakeport-test=bench"];
    await docker("create", "--name", name, ...label, ...options, "node:24-bookworm-slim", "node", "-e", script);
    return new Container(name);
  }

  start(): Promise<string> {
    return docker("start", this.name);
  }

  stop(graceS = 0): Promise<string> {
    return docker("stop", "-t", String(graceS), this.name);
  }

  /** Its address while it runs. */
  async address(): Promise<string> {
    return docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", this.name);
  }

  async isRunning(): Promise<boolean> {
    return (await docker("inspect", "-f", "{{.State.Running}}", this.name)) === "true";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await docker("rm", "-f", this.name);
  }
}

async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run("docker", args, { timeout: DOCKER_MS });
  return stdout.trim();
}
