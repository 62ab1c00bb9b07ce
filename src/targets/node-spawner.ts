/** Starts programs with Node's spawn(), which forks this process and can set a user and a group. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Exit } from "../activation/errors.ts";
import { DescriptorMask, inheritableDescriptors } from "./inherited-descriptors.ts";
import type { Child, Spawner, SpawnRequest } from "./spawner.ts";

export class NodeSpawner implements Spawner {
  readonly #mask = new DescriptorMask(inheritableDescriptors());

  async spawn({ program, variables, stdio }: SpawnRequest): Promise<Child> {
    const { file, args, sharesSession: _, ...options } = program;
    const env = { ...options.env, ...variables };
    // spawn() throws some errors and emits others.
    const child = spawn(file, args, { ...options, env, detached: true, stdio: this.#mask.over(stdio) });
    if (child.pid === undefined) throw (await once(child, "error"))[0];
    child.on("error", () => {});
    const { promise: exited, resolve } = Promise.withResolvers<Exit>();
    child.once("exit", (code, signal) => {
      resolve({ ...(code !== null && { code }), ...(signal !== null && { signal }) });
    });
    const { pid, stdin, stdout, stderr } = child;
    return { pid, stdin, stdout, stderr, exited, unref: () => child.unref() };
  }
}
