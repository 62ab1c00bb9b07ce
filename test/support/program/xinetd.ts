/** The real xinetd, for comparisons with wakeport. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { eventually } from "../eventually.ts";

/** The reason that there is no xinetd; false if there is one. */
export function withoutXinetd(): string | false {
  const isHere = spawnSync("xinetd", ["-version"]).error === undefined;
  return isHere ? false : "xinetd is not installed: test/engine/tools does that";
}

/** A running xinetd with this configuration. */
export class Xinetd implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #file: string;
  log = "";

  private constructor(child: ChildProcess, folder: string, file: string) {
    this.#child = child;
    this.#folder = folder;
    this.#file = file;
  }

  /** @param configuration in which @LOG@ is replaced by the path of the log */
  static async start(configuration: string): Promise<Xinetd> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-xinetd-"));
    const [file, log] = [path.join(folder, "xinetd.conf"), path.join(folder, "log")];
    await writeFile(file, configuration.replaceAll("@LOG@", log));
    await writeFile(log, "");
    const options = ["-f", file, "-filelog", log, "-pidfile", path.join(folder, "pid")];
    const child = spawn("xinetd", ["-dontfork", "-stayalive", ...options], { stdio: "ignore" });
    const started = new Xinetd(child, folder, log);
    try {
      await eventually("xinetd to start", async () => {
        return /Started working|exit/i.test(await started.read());
      });
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
    return started;
  }

  /** The log so far. */
  async read(): Promise<string> {
    this.log = await readFile(this.#file, "utf8");
    return this.log;
  }

  /** The number of services. */
  get served(): number {
    return Number(/Started working: (\d+) available/.exec(this.log)?.[1] ?? Number.NaN);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    if (this.#child.exitCode === null && this.#child.kill("SIGKILL")) await exited;
    await rm(this.#folder, { recursive: true });
  }
}
