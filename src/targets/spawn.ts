/** The only place that starts local programs. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { codeOf, messageOf, TargetError } from "../errors.ts";
import { type Program, type Spawnable, spawnable } from "./exec-wrapper.ts";
import { DescriptorMask, inheritableDescriptors } from "./inherited-descriptors.ts";

export type { StdioOptions };

/** Folders of sh, nice and setpriv, independent of a service's PATH. */
const SYSTEM_PATH = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Packages of programs with another name. */
const PACKAGES: Readonly<Record<string, string>> = { setpriv: "util-linux", nice: "coreutils" };

/** Read once: inherited descriptors do not change, and wakeport opens its own close-on-exec. */
let mask: DescriptorMask | undefined;

/** A running program, which is the leader of its process group. */
export interface Child {
  readonly child: ChildProcess;
  readonly pid: number;
}

/** Starts a program any number of times. Looks up the system programs that it needs only once. */
export class Launcher {
  readonly #program: Program;
  #spawnable: Spawnable | undefined;

  constructor(program: Program) {
    this.#program = program;
    mask ??= new DescriptorMask(inheritableDescriptors());
  }

  /**
   * Starts the program in its own process group. The descriptors in `stdio` are passed before this returns its promise, so
   * that the caller may close its own copies.
   *
   * @param env additional environment of this start
   * @throws TargetError that contains the file and the remedy
   */
  async launch(stdio: StdioOptions, env: Readonly<Record<string, string>> = {}): Promise<Child> {
    const { cwd } = this.#program;
    this.#spawnable ??= spawnable(this.#program, find);
    const { file, args, isWrapped, ...rest } = this.#spawnable;
    if (isWrapped) this.#checkFile();
    try {
      // spawn() throws some errors and emits others.
      const child = spawn(file, args, {
        ...rest,
        cwd,
        env: { ...rest.env, ...env },
        detached: true,
        stdio: mask?.over(typeof stdio === "string" ? [stdio, stdio, stdio] : stdio) ?? stdio,
      });
      if (child.pid === undefined) throw (await once(child, "error"))[0];
      child.on("error", () => {});
      return { child, pid: child.pid };
    } catch (error) {
      throw this.#targetError(error);
    }
  }

  /** Checks that the program exists, because behind a wrapper only an exit status would show it. */
  #checkFile(): void {
    const { command, env, cwd } = this.#program;
    const [file] = command;
    const names = file.includes("/")
      ? [path.resolve(cwd ?? "", file)]
      : (env["PATH"] ?? SYSTEM_PATH.join(":")).split(":").map((folder) => path.join(folder, file));
    const errors = names.map(accessError);
    if (errors.includes(undefined)) return;
    throw this.#targetError(errors.find((error) => codeOf(error) === "EACCES") ?? errors[0]);
  }

  #targetError(error: unknown): TargetError {
    if (error instanceof TargetError) return error;
    const [file] = this.#program.command;
    switch (codeOf(error)) {
      case "ENOENT":
        return new TargetError("missing", `cannot run "${file}": no such command, or no such cwd`, {
          remedy: 'give the full path in "command", and check "cwd"',
          cause: error,
        });
      case "EACCES":
        return new TargetError("denied", `cannot run "${file}": not executable for this user`, {
          remedy: `check the permissions of the file and its folders ("namei -l ${file}")`,
          cause: error,
        });
      case "EPERM":
        return new TargetError("denied", `cannot run "${file}" as another user`, {
          remedy: 'run wakeport as root, or remove "user" and "group"',
          cause: error,
        });
      case "EAGAIN":
        return new TargetError("failed", `cannot run "${file}": process limit reached`, {
          remedy: 'raise the limit (ulimit -u, or pids_limit of the container), or lower "limits.connections"',
          cause: error,
        });
      default:
        return new TargetError("failed", `cannot run "${file}": ${messageOf(error)}`, { cause: error });
    }
  }
}

function accessError(file: string): unknown {
  try {
    accessSync(file, constants.X_OK);
    return undefined;
  } catch (error) {
    return error;
  }
}

function find(name: string, purpose: string): string {
  const found = SYSTEM_PATH.map((folder) => path.join(folder, name)).find((file) => accessError(file) === undefined);
  if (found !== undefined) return found;
  const owner = PACKAGES[name] ?? name;
  throw new TargetError("missing", `this system has no "${name}", which ${purpose} needs`, {
    remedy: `install ${owner} (in ${SYSTEM_PATH.join(", ")}), or remove the key that needs it`,
  });
}
