/** Starts local programs with their settings, and explains errors. */
import { accessSync, constants, realpathSync } from "node:fs";
import path from "node:path";
import { codeOf, messageOf, TargetError } from "../errors.ts";
import { type Program, type Spawnable, spawnable } from "./exec-wrapper.ts";
import type { Child, Stdio } from "./spawner.ts";
import { fastestSpawner } from "./spawners.ts";

/** Folders of sh, nice and setpriv, independent of a service's PATH. */
const SYSTEM_PATH = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Packages of programs with another name. */
const PACKAGES: Readonly<Record<string, string>> = { setpriv: "util-linux", nice: "coreutils" };

/** Starts a program any number of times. Looks up the system programs that it needs only once. */
export class Launcher {
  readonly #program: Program;
  readonly #spawnerFor: typeof fastestSpawner;
  #spawnable: Spawnable | undefined;
  /** The same with setpriv for the account; null if this system has no such setpriv. */
  #withSetpriv: Spawnable | null | undefined;
  /** Whether Node has started the program as its account. Behind setpriv only an exit status would show that it cannot. */
  #isAccountProven = false;

  /** @param spawnerFor default: the fastest of this machine */
  constructor(program: Program, spawnerFor: typeof fastestSpawner = fastestSpawner) {
    this.#program = program;
    this.#spawnerFor = spawnerFor;
  }

  /**
   * Starts the program as Spawner.spawn does.
   *
   * @param env additional environment of this start
   * @throws TargetError that contains the file and the remedy
   */
  async launch(stdio: Stdio, env: Readonly<Record<string, string>> = {}): Promise<Child> {
    const program = this.#next();
    if (program.isWrapped) this.#checkFile();
    try {
      const child = await this.#spawnerFor(program.uid !== undefined).spawn({ program, variables: env, stdio });
      this.#isAccountProven ||= program.uid !== undefined;
      return child;
    } catch (error) {
      throw this.#targetError(error);
    }
  }

  /** Returns what the next start runs: after the first start as another account, setpriv, which the fastest spawner can run. */
  #next(): Spawnable {
    this.#spawnable ??= spawnable(this.#program, find);
    if (!this.#isAccountProven || this.#spawnerFor(false) === this.#spawnerFor(true)) return this.#spawnable;
    if (this.#withSetpriv === undefined) {
      // Behind setpriv, only bash could set argv[0]. Not each system has it, and it takes longer than a fork.
      const canWrap = this.#program.argv0 === undefined && hasSetpriv();
      this.#withSetpriv = canWrap ? spawnable(this.#program, find, false) : null;
    }
    return this.#withSetpriv ?? this.#spawnable;
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

function locate(name: string): string | undefined {
  return SYSTEM_PATH.map((folder) => path.join(folder, name)).find((file) => accessError(file) === undefined);
}

/** Whether this system has the setpriv of util-linux. That of busybox, a link, cannot set an account. */
function hasSetpriv(): boolean {
  const file = locate("setpriv");
  return file !== undefined && path.basename(realpathSync(file)) === "setpriv";
}

function find(name: string, purpose: string): string {
  const found = locate(name);
  if (found !== undefined) return found;
  const owner = PACKAGES[name] ?? name;
  throw new TargetError("missing", `this system has no "${name}", which ${purpose} needs`, {
    remedy: `install ${owner} (in ${SYSTEM_PATH.join(", ")}), or remove the key that needs it`,
  });
}
