/** `wakeport import` on the command line. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parse } from "yaml";
import { wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const echo =
  "service echo\n{\ntype = INTERNAL UNLISTED\nid = e\nprotocol = tcp\nport = 7007\nsocket_type = stream\nwait = no\ncps = 5 10\n}\n";

suite("wakeport import", () => {
  test("prints YAML, and lists the differences on standard error", async () => {
    await using file = await temporaryFile("xinetd.conf", echo);
    const { code, stdout, stderr } = await wakeport(["import", "xinetd", file.path]);
    assert.equal(code, 0);
    assert.deepEqual(parse(stdout).services, {
      e: { ports: ["7007"], builtin: "echo", limits: { rate: "5/s", rate_per_source: "5/s" } },
    });
    assert.match(stdout, new RegExp(`^# Converted by wakeport .* from ${file.path}\\.`));
    assert.match(
      stderr,
      new RegExp(`^warning: ${file.path}:9: service e: cps: clients above 5 per second are rejected`),
    );
  });

  test("reads inetd.conf", async () => {
    await using file = await temporaryFile("inetd.conf", "7007 stream tcp nowait root /bin/cat cat\n");
    const { code, stdout, stderr } = await wakeport(["import", "inetd", file.path]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual(parse(stdout).services["7007"].inetd.command, ["/bin/cat"]);
  });

  test("exits 2 if a file cannot be read, and 1 if the file contains no service", async () => {
    const missing = await wakeport(["import", "xinetd", "/nowhere/xinetd.conf"]);
    assert.deepEqual([missing.code, missing.stdout], [2, ""]);
    assert.equal(missing.stderr, "wakeport import: /nowhere/xinetd.conf: no such file\n");
    await using file = await temporaryFile("xinetd.conf", "# nothing\n");
    const empty = await wakeport(["import", "xinetd", file.path]);
    assert.equal(empty.code, 1);
    assert.deepEqual(parse(empty.stdout).services, {});
    assert.match(empty.stderr, /no service imported from/);
  });

  test("with wrong arguments prints its usage, and exits 2", async () => {
    const wrong: Readonly<Record<string, RegExp>> = {
      "": /name the files to import/,
      xinetd: /name the files to import/,
      "/etc/inetd.conf": /cannot import "\/etc\/inetd\.conf": write xinetd or inetd before the files/,
      "xintd /etc/xinetd.conf": /cannot import "xintd": did you mean "xinetd"\?/,
      "--all": /--all/,
    };
    for (const [words, message] of Object.entries(wrong)) {
      const { code, stderr } = await wakeport(["import", ...words.split(" ").filter(Boolean)]);
      assert.equal(code, 2);
      assert.match(stderr, message);
      assert.match(stderr, /usage: wakeport import xinetd\|inetd PATH/);
    }
  });

  test("commands without arguments reject arguments", async () => {
    const { code, stderr } = await wakeport(["check", "wakeport.yaml"]);
    assert.equal(code, 2);
    assert.match(stderr, /wakeport\.yaml[\s\S]*usage: wakeport check/);
  });
});
