/** A compose project of one service, which compose creates, starts and replaces. */

import { temporaryFile } from "../temporary-file.ts";
import { run } from "./compose.ts";
import { now, TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";

export const SERVICE = "echo";

export class ComposeProject implements AsyncDisposable {
  readonly name: string;
  readonly #lab: Lab;
  readonly #file: AsyncDisposable & { readonly path: string };

  private constructor(lab: Lab, name: string, file: AsyncDisposable & { readonly path: string }) {
    this.#lab = lab;
    this.name = name;
    this.#file = file;
  }

  /** @param program that Node runs as PID 1 @param isNamed whether the container has a configured name */
  static async create(lab: Lab, program: string, isNamed: boolean): Promise<ComposeProject> {
    const name = `wakeport-test-${process.pid}-${Math.round(now())}`;
    const service = {
      image: "node:24-bookworm-slim",
      pull_policy: "never",
      command: ["node", "-e", program],
      labels: lab.engine.label,
      stop_grace_period: "2s",
      ...(isNamed && { container_name: `${name}-named` }),
    };
    // JSON is YAML.
    const project = new ComposeProject(
      lab,
      name,
      await temporaryFile("compose.yaml", JSON.stringify({ services: { [SERVICE]: service } })),
    );
    await project.compose("up", "--no-start");
    return project;
  }

  /** Runs `docker compose …`, and records its actions as the test's. */
  async compose(...args: string[]): Promise<void> {
    const from = now();
    const before = await this.#ids();
    await run("docker", ["compose", "-p", this.name, "-f", this.#file.path, ...args]);
    const ids = new Set([...before, ...(await this.#ids())]);
    for (const id of ids) {
      for (const verb of ["restart", "remove"] as const) this.#lab.engine.acts.push({ verb, id, from, to: now() });
    }
  }

  /** Its current container. */
  async container(): Promise<TestContainer> {
    const [id = ""] = await this.#ids();
    const { Name } = await this.#lab.engine.docker.getContainer(id).inspect();
    return new TestContainer(this.#lab.engine, id, Name.slice(1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.compose("down", "--timeout", "1");
    await this.#file[Symbol.asyncDispose]();
  }

  async #ids(): Promise<readonly string[]> {
    const label = [`com.docker.compose.project=${this.name}`];
    const found = await this.#lab.engine.docker.listContainers({ all: true, filters: { label } });
    return found.map(({ Id }) => Id);
  }
}
