/** `wakeport run` with a real TFTP server and real clients. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { KIB, payload } from "../bench/payload.ts";
import { freePort } from "../support/free-port.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const run = promisify(execFile);

async function whyNot(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "needs root: the port of TFTP is 69";
  const programs = [
    ["in.tftpd", "-V"],
    ["tftp", "-V"],
    ["curl", "-V"],
  ] as const;
  const missing = await Promise.allSettled(programs.map(([program, option]) => run(program, [option])));
  return missing.some(({ status }) => status === "rejected")
    ? "needs in.tftpd, tftp and curl: test/engine/tools"
    : false;
}

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly host: string;
  /** The folder that the server reads and writes. */
  readonly folder: string;
}

/** A listener on port 69 of its own address; the server listens on another port. */
async function start(): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [upstream, admin] = [await freePort(), await freePort()];
  const host = `127.69.${process.pid & 255}.${1 + (upstream % 250)}`;
  const folder = await mkdtemp(path.join(tmpdir(), "wakeport-tftp-"));
  stack.defer(() => rm(folder, { recursive: true }));
  await chmod(folder, 0o777);
  const command = ["in.tftpd", "-L", "-a", `127.0.0.1:${upstream}`, "-c", "-s", folder];
  const target = `process: { command: ${JSON.stringify(command)}, listen: "127.0.0.1:${upstream}" }`;
  const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services:
  boot: { ports: ["${host}:69/udp"], ${target}, idle_timeout: 200ms, udp: { flow_timeout: 1500ms } }
`;
  const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
  const program = stack.use(new Program(["run", "-c", file.path]));
  await program.logged("started");
  const owned = stack.move();
  return { program, host, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function fetched(host: string, name: string): Promise<Buffer> {
  const { stdout } = await run("curl", ["-sS", "--max-time", "30", `tftp://${host}/${name}`], {
    encoding: "buffer",
    maxBuffer: 1024 * KIB,
  });
  return stdout;
}

suite("wakeport run with a TFTP server", { skip: await whyNot() }, () => {
  test("a download wakes the server, concurrent downloads are complete, and the server sleeps afterwards", async () => {
    await using bench = await start();
    const files = [1, 511, 512, 513, 300 * KIB].map((size, index) => [`file${index}`, payload(size)] as const);
    for (const [name, content] of files) await writeFile(path.join(bench.folder, name), content);
    const all = await Promise.all([...files, ...files].map(([name]) => fetched(bench.host, name)));
    for (const [index, [, content]] of [...files, ...files].entries()) assert.ok(all[index]?.equals(content));
    await bench.program.logged("target.asleep");
    assert.equal(bench.program.log.filter(({ event }) => event === "target.starting").length, 1);
    const closed = bench.program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([...new Set(closed.map(({ outcome, end }) => `${outcome} ${end}`))], ["relayed idle"]);
  });

  test("a client that reuses its port uploads, downloads, and receives errors", async () => {
    await using bench = await start();
    const content = payload(100 * KIB);
    await using sent = await temporaryFile("sent", "");
    await writeFile(sent.path, content);
    const taken = `${sent.path}.taken`;
    const commands = `binary\nput ${sent.path} upload\nget nothing ${taken}\nget upload ${taken}\nquit\n`;
    const client = run("tftp", [bench.host]);
    client.child.stdin?.end(commands);
    const { stdout } = await client;
    assert.match(stdout, /File not found/);
    assert.ok((await readFile(path.join(bench.folder, "upload"))).equals(content));
    assert.ok((await readFile(taken)).equals(content));
  });
});
