/** No untrusted text reaches a terminal as an escape sequence: log, status, check, and command line errors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

/** What the configuration may contain, as YAML and JSON write it. */
const EVIL = String.raw`\u001b]0;x\u009b1m\u202e\nforged`;
/** A control character other than a newline, or a mark that changes the direction of text. */
const SENT = /[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u;

async function configuration(format: string): Promise<{ path: string; port: number } & AsyncDisposable> {
  const [port, admin] = [await freePort(), await freePort()];
  const file = await temporaryFile(
    "wakeport.yaml",
    `admin: { listen: "127.0.0.1:${admin}" }
log: { format: ${format} }
services:
  slow:
    ports: ["127.0.0.1:${port}:1"]
    process: { command: [sh, -c, "printf 'A\\\\033[2JB\\\\n'; exit 1", "${EVIL}"] }
    ready: { log: "${EVIL}" }
    start_timeout: 2s\n`,
  );
  return { path: file.path, port, [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
}

for (const format of ["pretty", "json", "xinetd"]) {
  test(`log.format ${format}, status and SIGUSR2 print no escape sequence`, async () => {
    await using file = await configuration(format);
    await using program = new Program(["run", "-c", file.path]);
    await eventually("wakeport has started", () => program.stdout.length > 0);
    using client = await connect(file.port);
    await client.ended();
    await eventually("the failure is logged", () => program.stdout.includes("failed to start"));
    program.child.kill("SIGUSR2");
    await eventually("the state is logged", () => /: status: \{|"event":"state"/.test(program.stdout));
    assert.doesNotMatch(program.stdout, SENT);
    assert.doesNotMatch(program.stdout, /^forged/m);
    assert.match(program.stdout, /(\\x1b|\\u001b)\[2J/);
    for (const args of [["status"], ["status", "slow"], ["status", "--json"]]) {
      const { stdout } = await wakeport([...args, "-c", file.path]);
      assert.match(stdout, /slow/);
      assert.doesNotMatch(stdout, SENT, args.join(" "));
      assert.doesNotMatch(stdout, /^forged/m, args.join(" "));
    }
  });
}

test("check and command line errors print no escape sequence", async () => {
  await using file = await configuration("json");
  const check = await wakeport(["check", "-c", file.path]);
  assert.match(check.stdout, /is valid/);
  assert.doesNotMatch(check.stdout, SENT);
  assert.doesNotMatch(check.stdout, /^forged/m);
  for (const args of [["\x1b[2J"], ["status", "-c", "\x1b[2J\u202e"], ["check", "--\x1b[2J"]]) {
    const { stderr } = await wakeport(args);
    assert.match(stderr, /\[2J/);
    assert.doesNotMatch(stderr, SENT, JSON.stringify(args));
  }
});
