/** bin/wakeport in the group of the engine's socket, as in a container with `group_add`, and the programs it starts. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";

const PROGRAM = path.join(import.meta.dirname, "../../bin/wakeport");
const SETPRIV = "/usr/bin/setpriv";
const needsRoot = { skip: process.getuid?.() !== 0 && "needs root" };

const GROUP = 4_242;
const NOBODY = ["--reuid=65534", "--regid=65534"];

/** An engine socket that only root and one group may use, and a wakeport with one service. */
class Lab implements AsyncDisposable {
  readonly #folder: string = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  readonly #engine: net.Server;
  readonly #file: string;
  readonly socket: string;
  #child: ChildProcess | undefined;
  output = "";

  private constructor(service: string) {
    chmodSync(this.#folder, 0o755);
    this.socket = path.join(this.#folder, "docker.sock");
    this.#engine = net.createServer().listen(this.socket);
    this.#file = path.join(this.#folder, "wakeport.yaml");
    writeFileSync(this.#file, `docker: { host: "unix://${this.socket}" }\nservices: { it: ${service} }\n`);
  }

  static async with(service: string): Promise<Lab> {
    const lab = new Lab(service);
    await once(lab.#engine, "listening");
    chownSync(lab.socket, 0, GROUP);
    chmodSync(lab.socket, 0o660);
    return lab;
  }

  /** @param as the options of setpriv */
  async check(as: readonly string[]): Promise<string> {
    const child = spawn(SETPRIV, [...as, PROGRAM, "check", "-c", this.#file], { stdio: ["ignore", "ignore", "pipe"] });
    return await text(child.stderr);
  }

  /** Replaces the service in the file and reloads wakeport. */
  reload(service: string): void {
    writeFileSync(this.#file, `docker: { host: "unix://${this.socket}" }\nservices: { it: ${service} }\n`);
    this.#child?.kill("SIGHUP");
  }

  async run(as: readonly string[]): Promise<void> {
    const env = { ...process.env, WAKEPORT_ADMIN_LISTEN: `127.0.0.1:${await freePort()}` };
    const child = spawn(SETPRIV, [...as, PROGRAM, "run", "-c", this.#file], {
      stdio: ["ignore", "pipe", "inherit"],
      env,
    });
    child.stdout.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    this.#child = child;
    await eventually("wakeport has started", () => this.output.includes('"started"'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) {
      this.#child.kill("SIGTERM");
      await once(this.#child, "close");
    }
    this.#engine.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** An inetd service that sends the ids of its process to the client. */
async function shower(): Promise<{ readonly port: number; readonly service: string }> {
  const port = await freePort();
  const command = "[/bin/grep, -E, '^(Uid|Gid|Groups):', /proc/self/status]";
  return { port, service: `{ ports: ["127.0.0.1:${port}"], inetd: { command: ${command} } }` };
}

async function shown(port: number): Promise<string> {
  using peer = await connect(port);
  await peer.ended();
  return peer.text.replaceAll("\t", " ").replaceAll(/ +$/gm, "");
}

suite("programs started by a wakeport in the group of the engine's socket", { ...needsRoot }, () => {
  test("are not in that group if wakeport is root", async () => {
    const { port, service } = await shower();
    await using lab = await Lab.with(service);
    await lab.run([`--groups=${GROUP},0`]);
    assert.equal(await shown(port), "Uid: 0 0 0 0\nGid: 0 0 0 0\nGroups:\n");
    assert.doesNotMatch(lab.output, /docker\.socket_exposed/);
  });

  test("are in that group if wakeport may not change groups, which it warns about", async () => {
    const { port, service } = await shower();
    await using lab = await Lab.with(service);
    const as = [...NOBODY, `--groups=${GROUP}`];
    await lab.run(as);
    assert.equal(await shown(port), `Uid: 65534 65534 65534 65534\nGid: 65534 65534 65534 65534\nGroups: ${GROUP}\n`);
    const warning = new RegExp(`service \\\\?"it\\\\?" can use ${lab.socket} .* without its own group ${GROUP}\\.`);
    assert.match(lab.output, warning);
    assert.match(await lab.check(as), warning);
  });

  test("are reported once when a reload adds the first program", async () => {
    await using lab = await Lab.with(`{ ports: ["127.0.0.1:${await freePort()}"], builtin: echo }`);
    await lab.run([...NOBODY, `--groups=${GROUP}`]);
    const warnings = (): number => lab.output.split("docker.socket_exposed").length - 1;
    assert.equal(warnings(), 0);
    for (const reloads of [1, 2]) {
      lab.reload((await shower()).service);
      await eventually(
        "the configuration is reloaded",
        () => lab.output.split("config.reloaded").length - 1 === reloads,
      );
      await eventually("the warning is logged", () => warnings() === 1);
    }
  });

  for (const [what, as, way] of [
    ["its primary group", ["--reuid=65534", `--regid=${GROUP}`, "--clear-groups"], `group ${GROUP}`],
    ["root without the right to change groups", ["--bounding-set=-setgid", "--inh-caps=-setgid"], "user 0 (root)"],
  ] as const) {
    test(`are reported by \`check\` if the socket comes from ${what}`, async () => {
      await using lab = await Lab.with((await shower()).service);
      assert.match(await lab.check(as), new RegExp(`without its own ${RegExp.escape(way)}\\.`));
    });
  }

  test("are not reported if no program can use the socket", async () => {
    await using lab = await Lab.with((await shower()).service);
    assert.equal(await lab.check([...NOBODY, "--groups=4243"]), "");
    await using idle = await Lab.with(`{ ports: ["127.0.0.1:${await freePort()}"], container: web }`);
    assert.equal(await idle.check([...NOBODY, `--groups=${GROUP}`]), "");
  });
});
