import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { basename, dirname } from "node:path";

const STOP_GRACE_MS = 5_000;
const OUTPUT_TAIL = 2_000;

/**
 * A child program in its own process group, which is killed as a whole, also if this process ends by an
 * error or a signal.
 */
export class Program {
  readonly pid: number;
  /** Aborts when the program ends, with its last output as the reason. */
  readonly ended: AbortSignal;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #killGroup: () => void;
  #output = "";

  private constructor(child: ChildProcess, pid: number) {
    this.pid = pid;
    this.#child = child;
    const ended = new AbortController();
    this.ended = ended.signal;
    child.once("close", () => {
      ended.abort(new Error(`${basename(child.spawnfile)} ended too early: ${this.#output.trim()}`));
    });
    // Not "close": a grandchild in another group may hold the pipes longer.
    this.#exited = once(child, "exit");
    this.#killGroup = () => killGroup(pid);
    process.once("exit", this.#killGroup);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (text: Buffer) => {
        this.#output = (this.#output + text.toString()).slice(-OUTPUT_TAIL);
      });
    }
  }

  static async start(command: readonly string[]): Promise<Program> {
    const [file = "", ...args] = command;
    const child = spawn(file, args, { detached: true, stdio: ["ignore", "pipe", "pipe"], env: environment() });
    await once(child, "spawn");
    if (child.pid === undefined) throw new Error(`Cannot start "${file}"`);
    return new Program(child, child.pid);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const force = setTimeout(this.#killGroup, STOP_GRACE_MS);
    await this.#exited;
    clearTimeout(force);
    this.#killGroup();
    process.off("exit", this.#killGroup);
  }
}

/** Runs the exit handlers, which stop the children, on signals too. */
export function exitOnSignals(): void {
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  process.once("SIGHUP", () => process.exit(129));
}

/** A launcher's `#!/usr/bin/env node` must find the Node that runs this. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group is empty.
  }
}
