/** Runs the built programs once, so that V8's compiled code is part of dist/. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

/** The users of compose files: root of the container, and the image's own user. Node keeps one cache for each user. */
const USERS = ["0", "65532"];
/** As in bin/wakeport and the image: compiled code is valid for one set of V8's flags. */
const FLAGS = ["--max-semi-space-size=4", "--expose-gc"];
const START_MS = 30_000;

/** @param main the program to run @param cache the folder of its compile cache */
export async function warmUp(main: string, cache: string): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), "wakeport-build-"));
  const file = path.join(folder, "wakeport.yaml");
  const [admin, port] = [await freePort(), await freePort()];
  const service = `a: { ports: ["127.0.0.1:${port}"], container: wakeport-build }`;
  const docker = `docker: { host: "unix://${folder}/none.sock" }`;
  writeFileSync(file, `admin: { listen: "127.0.0.1:${admin}" }\n${docker}\nservices: { ${service} }\n`);
  // A cache in the environment would take precedence over the one of dist/.
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  try {
    execFileSync(process.execPath, [...FLAGS, main, "check", "-c", file], { env });
    const args = [...FLAGS, main, "run", "-c", file];
    const run = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    await once(run.stdout, "data", { signal: AbortSignal.timeout(START_MS) });
    // Health checks of containers have no flags, and neither has the child that reads the configuration.
    execFileSync(process.execPath, [main, "healthcheck", "-c", file], { env });
    await end(run);
    makeReadable(cache);
    for (const user of USERS) share(cache, user);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function end(run: ChildProcess): Promise<void> {
  const exited = once(run, "exit");
  run.kill("SIGTERM");
  await exited;
}

/** Node writes the files for their owner only. */
function makeReadable(cache: string): void {
  for (const entry of readdirSync(cache, { recursive: true, withFileTypes: true })) {
    chmodSync(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
}

/** Makes the cache of this user the one of another user, too. */
function share(cache: string, user: string): void {
  for (const name of readdirSync(cache)) {
    const shared = name.replace(/\d+$/, user);
    if (!existsSync(path.join(cache, shared))) symlinkSync(name, path.join(cache, shared));
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
