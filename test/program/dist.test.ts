/** Builds the program as `npm run build` does, and runs the result. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { copyFile, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { promisify } from "node:util";
import { programs } from "../../build/programs.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const run = promisify(execFile);
const ROOT = path.join(import.meta.dirname, "../..");
const BUILD_MS = 120_000;
const OBSERVED_MS = 10_000;

suite("dist/", () => {
  let folder: string;
  let dist: string;
  const node = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
    run(process.execPath, [path.join(dist, "main.js"), ...args], { timeout: BUILD_MS });

  before(async () => {
    // Below node_modules/, where the build finds koffi.
    folder = await mkdtemp(path.join(ROOT, "node_modules/.wakeport-test-"));
    dist = path.join(folder, "dist");
    await copyFile(path.join(ROOT, "package.json"), path.join(folder, "package.json"));
    await run(process.execPath, [path.join(ROOT, "build/bundle.ts"), dist], { timeout: BUILD_MS });
  });

  after(() => rm(folder, { recursive: true }));

  test("has each program, V8's compiled code and the licences of the packages", () => {
    for (const program of programs) assert.ok(existsSync(path.join(dist, `${program}.js`)), program);
    const cache = readdirSync(path.join(dist, "cache"), { recursive: true, encoding: "utf8" });
    assert.ok(cache.length > 0);
    // The image is built by one user and run by another.
    for (const file of cache) assert.ok(statSync(path.join(dist, "cache", file)).mode & 0o004, file);
    const licences = readFileSync(path.join(dist, "LICENCES.txt"), "utf8");
    for (const name of ["dockerode", "docker-modem", "pino", "prom-client", "yaml", "zod"]) {
      assert.match(licences, new RegExp(`^${name} \\d`, "m"));
    }
    assert.doesNotMatch(licences, /^(ssh2|@grpc\S*|protobufjs) \d/m);
  });

  test("has compiled code for the flags of the launcher, and for no flags", async () => {
    const launcher = path.join(folder, "bin/wakeport");
    await cp(path.join(ROOT, "bin"), path.join(folder, "bin"), { recursive: true });
    const cache = readdirSync(path.join(dist, "cache"));
    // V8 adds a folder for other flags.
    await run(launcher, ["version"], { env: { PATH: `${path.dirname(process.execPath)}:${process.env["PATH"]}` } });
    await node("version");
    assert.deepEqual(readdirSync(path.join(dist, "cache")), cache);
  });

  test("runs the commands", async () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8"));
    assert.match((await node("version")).stdout, new RegExp(version));
    assert.equal(JSON.parse((await node("schema")).stdout).title, "wakeport.yaml");
    const file = path.join(folder, "inetd.conf");
    await writeFile(file, "2323 stream tcp nowait root /bin/cat cat\n");
    const imported = path.join(folder, "imported.yaml");
    await writeFile(imported, (await node("import", "inetd", file)).stdout);
    assert.match((await node("check", "-c", imported)).stdout, /imported\.yaml is valid/);
    const broken = path.join(folder, "broken.yaml");
    await writeFile(broken, "services: { a: { ports: [80], contaner: a } }\n");
    await assert.rejects(node("check", "-c", broken), /broken\.yaml:1:\d+ error: .*contaner/s);
  });

  test("serves, and rarely wakes the processor while all targets sleep", async (t) => {
    const [port, target, admin] = [await freePort(), await freePort(), await freePort()];
    const file = path.join(folder, "serve.yaml");
    const command = JSON.stringify([process.execPath, path.join(dist, "demo/lines.js"), `${target}`]);
    const services = [
      `lines: { ports: ["127.0.0.1:${port}"], process: { command: ${command}, listen: "127.0.0.1:${target}" } }`,
      `echo: { ports: ["127.0.0.1:${await freePort()}"], builtin: echo }`,
    ];
    await writeFile(file, `admin: { listen: "127.0.0.1:${admin}" }\nservices: { ${services.join(", ")} }\n`);
    const child = spawn(process.execPath, [path.join(dist, "main.js"), "run", "-c", file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    child.stdout.resume();
    const wakeUps = (): number => {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
    };
    // A timer of 1 s would wake it ten times. V8 collects garbage for up to 20 s after the start.
    await eventually(
      "it wakes at most five times in 10 s",
      async () => {
        const before = wakeUps();
        await scheduler.wait(OBSERVED_MS);
        return wakeUps() - before <= 5;
      },
      90_000,
    );
    const client = net.connect(port, "127.0.0.1").end("hello\n");
    assert.equal(await text(client), "HELLO\n");
    assert.equal(await (await fetch(`http://127.0.0.1:${admin}/readyz`)).text(), "ready\n");
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });
});
