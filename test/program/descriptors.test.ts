/** bin/wakeport with descriptors inherited from its parent, which the programs it starts must not inherit. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const PROGRAM = path.join(import.meta.dirname, "../../bin/wakeport");

/** One adjacent to the standard descriptors, and some after a gap. */
const INHERITED = [4, 40, 63, 200];

/** Lists the open descriptors of its shell: `3 /etc/passwd`. */
const list = 'for fd in /proc/$$$$/fd/*; do echo "$${fd##*/} $$(readlink $$fd)"; done';
/** The same, but the shell does not exit. */
const serve = `${list}; echo done; exec sleep 60`;

/** The files that the inherited descriptors refer to, according to `lines`. */
function inherited(lines: string): string[] {
  const files = new Map(lines.split("\n").map((line) => line.split(" ", 2) as [string, string]));
  return INHERITED.map((fd) => files.get(String(fd)) ?? "closed");
}

suite("descriptors that wakeport inherited", () => {
  test("are closed in inetd programs, processes, and programs started through a shell", async () => {
    const [plain, wrapped, woken, upstream] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const command = JSON.stringify(["/bin/sh", "-c", list]);
    await using file = await temporaryFile(
      "wakeport.yaml",
      `services:
  plain: { ports: ["127.0.0.1:${plain}"], inetd: { command: ${command} } }
  wrapped: { ports: ["127.0.0.1:${wrapped}"], inetd: { command: ${command}, umask: "027", nice: 1 } }
  woken: { ports: ["127.0.0.1:${woken}"], start_timeout: 5s, process: { command: ${JSON.stringify(["/bin/sh", "-c", serve])}, listen: "127.0.0.1:${upstream}" } }\n`,
    );
    const secret = openSync("/etc/passwd", "r");
    const stdio = Array.from({ length: 201 }, (_, fd) => {
      if (fd === 1) return "pipe";
      return INHERITED.includes(fd) ? secret : "ignore";
    });
    const child = spawn(PROGRAM, ["run", "-c", file.path], {
      stdio,
      env: { ...process.env, WAKEPORT_ADMIN_LISTEN: `127.0.0.1:${await freePort()}` },
    });
    closeSync(secret);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await eventually("wakeport has started", () => output.includes('"started"'));
      for (const port of [plain, wrapped]) {
        using peer = await connect(port);
        await peer.ended();
        assert.match(peer.text, /^0 socket:/);
        assert.deepEqual(inherited(peer.text), ["closed", "closed", "closed", "closed"]);
      }
      using _peer = await connect(woken);
      await eventually("the process has printed its descriptors", () => output.includes("woken | done"));
      const lines = [...output.matchAll(/woken \| ([^"]*)"/g)].map(([, line]) => line).join("\n");
      assert.deepEqual(inherited(lines), ["closed", "closed", "closed", "closed"]);
    } finally {
      child.kill("SIGTERM");
      await once(child, "close");
    }
  });
});
