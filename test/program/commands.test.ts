/** The commands that exit by themselves, called from a shell. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdir, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { suite, test } from "node:test";
import { forbiddenAccounts } from "../../src/cli/check/missing-programs.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { freePort } from "../support/free-port.ts";
import { wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const good = `
services:
  ftp: { ports: ["2121:21", "127.0.0.1:30000:30000", "31000-31009:32000-32009"], container: vsftpd, idle_timeout: 10m }
  off: { ports: [7000], container: { service: x, project: y }, enabled: false }
`;

suite("wakeport", () => {
  for (const command of ["run", "check", "status", "import", "healthcheck", "schema", "version"]) {
    test(`${command} --help prints its usage`, async () => {
      const { code, stdout } = await wakeport([command, "--help"]);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^usage: wakeport ${command}`));
      assert.equal((await wakeport(["help", command])).stdout, stdout);
    });
  }

  test("help with an unknown command names the nearest one, and exits 2", async () => {
    const { code, stderr } = await wakeport(["help", "stauts"]);
    assert.equal(code, 2);
    assert.match(stderr, /unknown command "stauts": did you mean "status"\?/);
  });

  test("without a command lists the commands, and exits 2", async () => {
    const { code, stdout } = await wakeport([]);
    assert.equal(code, 2);
    assert.match(stdout, /^usage: wakeport COMMAND/);
    assert.equal((await wakeport(["--help"])).code, 0);
  });

  test("an unknown command names the nearest command, and exits 2", async () => {
    const { code, stderr } = await wakeport(["stauts"]);
    assert.equal(code, 2);
    assert.match(stderr, /unknown command "stauts": did you mean "status"\?/);
  });

  test("an unknown option prints the usage, and exits 2", async () => {
    const { code, stderr } = await wakeport(["check", "--confg", "x"]);
    assert.equal(code, 2);
    assert.match(stderr, /unknown option "--confg": did you mean "--config"\?\nusage: wakeport check/);
  });

  test("version names wakeport and Node", async () => {
    assert.match((await wakeport(["version"])).stdout, /^wakeport \d+\.\d+\.\d+ node v\d+\.\d+\.\d+\n$/);
    const built = await wakeport(["version"], { WAKEPORT_REVISION: "abc1234" });
    assert.match(built.stdout, /^wakeport \d+\.\d+\.\d+ \(abc1234\) node v/);
  });

  for (const { files, remedy } of [
    { files: [], remedy: /required: install it$/ },
    { files: ["package-lock.json"], remedy: /required: install it, or run npm ci --include=dev in \S+, which does$/ },
  ]) {
    test(`without Node 24, names a remedy that exists ${files.length > 0 ? "in a checkout" : "in a package"}`, async () => {
      await using node = await temporaryFile("node", "#!/bin/sh\necho v20.20.2\n");
      await chmod(node.path, 0o755);
      const root = path.dirname(node.path);
      await mkdir(path.join(root, "bin"));
      await copyFile(path.join(import.meta.dirname, "../../bin/wakeport"), path.join(root, "bin/wakeport"));
      for (const file of files) await writeFile(path.join(root, file), "");
      const env = { PATH: `${root}:/usr/bin:/bin` };
      const { status, stderr } = spawnSync(path.join(root, "bin/wakeport"), ["version"], { env, encoding: "utf8" });
      assert.equal(status, 1);
      assert.match(stderr.trim(), remedy);
    });
  }

  test("schema prints a JSON Schema, draft-07", async () => {
    const schema = JSON.parse((await wakeport(["schema"])).stdout);
    assert.equal(schema.$schema, "http://json-schema.org/draft-07/schema#");
    assert.ok(schema.properties.services);
  });
});

suite("forbiddenAccounts()", () => {
  const text = `services:
  root: { ports: [30001], inetd: { command: [cat], user: root } }
  same: { ports: [30002], inetd: { command: [cat], user: 1000, group: 1000 } }
  plain: { ports: [30003], inetd: { command: [cat] } }
  group: { ports: [30004], inetd: { command: [cat], group: root } }
`;
  const config = parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });

  test("returns the services whose configured user requires root", () => {
    assert.deepEqual(forbiddenAccounts(config, { uid: 1000, gid: 1000 }), [
      'service "root": only root can start a program as user "root"; this is uid 1000',
      'service "group": only root can start a program as group "root"; this is uid 1000',
    ]);
    assert.deepEqual(forbiddenAccounts(config, { uid: 0, gid: 0 }), []);
  });
});

suite("wakeport check", () => {
  test("prints the plan of a good file", async () => {
    await using file = await temporaryFile("wakeport.yaml", good);
    const { code, stdout } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 0);
    assert.match(stdout, /ftp\s+\*:2121 → container vsftpd:21\s+idle 10m/);
    assert.match(stdout, /127\.0\.0\.1:30000 → container vsftpd:30000/);
    assert.match(stdout, /^ +\*:31000-31009 → container vsftpd:32000-32009$/m);
    assert.match(
      stdout,
      /off\s+\*:7000 → container y\/x:7000\s+disabled [\s\S]*\nremarks:\n {2}ftp: port 21 is the port of FTP/,
    );
  });

  test("prints access rules, the target of a passed listener, and missing programs", async () => {
    await using file = await temporaryFile(
      "wakeport.yaml",
      `services:
  cat:
    ports: [30001]
    inetd: { command: [cat, ${"x".repeat(60)}] }
    access: { allow: [10.0.0.0/8], deny: [10.0.9.0/24], times: ["mon-fri 08:00-20:00", "sun"], timezone: Europe/Berlin }
    limits: { connections: 50, per_source: 10, rate: 50/s, rate_per_source: 10/m, max_load: 4, on_limit: queue }
  none: { ports: [30002], builtin: echo, access: { allow: [] }, monitors: [10.0.0.5] }
  all: { ports: [30003], builtin: echo }
  fds: { ports: [30004], process: { command: [/nowhere/fds], activation: listen_fds } }
  off: { ports: [30005], enabled: false, inetd: { command: [/nowhere/off] }, limits: { connections: 1 } }
`,
    );
    const { code, stdout, stderr } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 0);
    assert.match(stdout, /→ inetd cat x{45}…$/m);
    assert.match(stdout, /→ process fds +idle/);
    const [, words = ""] = stdout.split("access and limits:\n");
    assert.deepEqual(words.trim().split("\n"), [
      "cat: from 10.0.0.0/8 except 10.0.9.0/24; mon-fri 08:00-20:00 or sun 00:00-24:00 (Europe/Berlin); at most 50 connections, 10 per source, 50/s, 10/m per source, a load of 4; further clients wait",
      "  none: no clients; monitors from 10.0.0.5 are accepted and closed",
    ]);
    const missing = stderr.trim().split("\n");
    assert.equal(missing.length, 1);
    assert.match(missing[0] ?? "", /warning: service "fds": "\/nowhere\/fds" is not an executable program/);
  });

  test("reports an engine that does not respond, and exits 0", async () => {
    await using file = await temporaryFile("wakeport.yaml", good);
    const { code, stdout } = await wakeport(["check", "-c", file.path], { DOCKER_HOST: "unix:///nowhere/docker.sock" });
    assert.equal(code, 0);
    assert.match(stdout, /^containers: not checked: no engine answers at unix:\/\/\/nowhere\/docker\.sock/m);
    await using none = await temporaryFile("wakeport.yaml", "services: { e: { ports: [7000], builtin: echo } }\n");
    assert.doesNotMatch((await wakeport(["check", "-c", none.path])).stdout, /containers/);
  });

  test("prints the FTP server settings for services with data ports", async () => {
    await using file = await temporaryFile(
      "wakeport.yaml",
      `services:
  one: { ports: ["192.0.2.1:2121:21"], data: [30001-30009, 30000], container: a }
  all: { ports: ["2122:21"], data: "31000", container: b }
  six: { ports: ["[fd00::1]:2123:21"], data: 32000-32001, container: c }
  gap: { ports: ["2124:21"], data: [33000, 33002], container: d }
  off: { ports: ["2125:21"], data: 34000, container: e, enabled: false }
`,
    );
    const { code, stdout, stderr } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^ +\*:30001-30009 → container a:30001-30009 \(data\)$/m);
    const [, words = ""] = stdout.split(/^passive-mode settings for your FTP servers/m);
    assert.deepEqual(words.trimEnd().split("\n"), [
      " (ADDRESS = the address that clients use to reach wakeport):",
      "  one: 30001-30009, 30000",
      "    vsftpd      pasv_min_port=30000   pasv_max_port=30009   pasv_address=192.0.2.1",
      "    ProFTPD     PassivePorts 30000 30009   MasqueradeAddress 192.0.2.1",
      "    pure-ftpd   PassivePortRange 30000 30009   ForcePassiveIP 192.0.2.1",
      "  all: 31000",
      "    vsftpd      pasv_min_port=31000   pasv_max_port=31000   pasv_address=ADDRESS",
      "    ProFTPD     PassivePorts 31000 31000   MasqueradeAddress ADDRESS",
      "    pure-ftpd   PassivePortRange 31000 31000   ForcePassiveIP ADDRESS",
      "  six: 32000-32001",
      "    vsftpd      pasv_min_port=32000   pasv_max_port=32001",
      "    ProFTPD     PassivePorts 32000 32001",
      "    pure-ftpd   PassivePortRange 32000 32001",
      '  gap: 33000, 33002: FTP servers support a single range: write "data" as one range',
    ]);
  });

  test("warns about the requirements of FTP clients that use TLS", async () => {
    const services =
      "services: { ftp: { ports: [2121], container: vsftpd, protocol: ftp }, web: { ports: [80], container: web } }";
    await using file = await temporaryFile("wakeport.yaml", services);
    const { code, stdout } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 0);
    assert.match(stdout, /\nremarks:\n {2}ftp: [^\n]*AUTH TLS[^\n]*docs\/ftp\.md[^\n]*\n$/);
  });

  test("prints every problem of an invalid file, and exits 2", async () => {
    await using file = await temporaryFile(
      "wakeport.yaml",
      "services:\n  a: {ports: 1}\n  b: {port: 2, container: c}\n",
    );
    const { code, stderr } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 2);
    assert.match(stderr, /wakeport\.yaml:2:3 error: service "a": a target is missing/);
    assert.match(stderr, /wakeport\.yaml:3:7 error: unknown key "port"[\s\S]*did you mean "ports"\?/);
  });

  test("prints users and groups that do not exist on this machine, and exits 2", async () => {
    const process = (port: number, who: string): string =>
      `ports: ${port}, process: { command: [x], listen: "127.0.0.1:1${port}", ${who} }`;
    const services = [
      `a: { ${process(7001, "user: no-such-user")} }`,
      `b: { ${process(7002, "group: nothing-here")} }`,
      `c: { ${process(7003, "user: root, group: 4711")} }`,
      `d: { enabled: false, ${process(7004, "user: no-such-user")} }`,
    ];
    services.push("e: { ports: 7005, inetd: { command: [x], user: root, groups: [others-here] } }");
    await using file = await temporaryFile("wakeport.yaml", `services:\n  ${services.join("\n  ")}\n`);
    const { code, stderr } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 2);
    assert.deepEqual(stderr.trim().split("\n"), [
      `${file.path} error: service "a": there is no user "no-such-user" on this system: correct "user", or give its number`,
      `${file.path} error: service "b": there is no group "nothing-here" on this system: correct "group", or give its number`,
      `${file.path} error: service "e": there is no group "others-here" on this system: correct "group", or give its number`,
    ]);
  });

  test("reads the path of the file from WAKEPORT_CONFIG, and variables from the environment", async () => {
    await using file = await temporaryFile("w.yaml", "services: { a: { ports: '${FRONT}:7', container: c } }\n");
    const { stdout } = await wakeport(["check"], { WAKEPORT_CONFIG: file.path, FRONT: "4711" });
    assert.match(stdout, /\*:4711 → container c:7/);
  });

  test("without a configuration prints the searched paths and an example, and exits 2", async () => {
    const { code, stderr } = await wakeport(["check"]);
    assert.equal(code, 2);
    assert.match(stderr, /\.\/wakeport\.yaml, \/etc\/wakeport\/wakeport\.yaml[\s\S]*services:/);
  });

  test("reports a missing file and a directory with their causes", async () => {
    assert.match(
      (await wakeport(["check", "-c", "nowhere.yaml"])).stderr,
      /nowhere\.yaml error: the file does not exist/,
    );
    assert.match((await wakeport(["check", "-c", "/"])).stderr, /is a directory/);
  });
});

suite("wakeport status and healthcheck", () => {
  test("exit 1 if no wakeport responds", async () => {
    await using file = await temporaryFile("w.yaml", `admin: { listen: "127.0.0.1:${await freePort()}" }\n${good}`);
    for (const command of ["status", "healthcheck"]) {
      const { code, stderr } = await wakeport([command, "-c", file.path]);
      assert.equal(code, 1);
      assert.match(stderr, /no wakeport answers at 127\.0\.0\.1:\d+: .*reload it if admin\.listen was changed/);
    }
  });

  for (const [what, mistake] of Object.entries({
    "an unknown key": "nonsense: true\n",
    "no YAML": "log: { level: info\n",
  })) {
    test(`query the running wakeport although its file is now invalid (${what})`, async () => {
      const answers = http.createServer((_, response) => response.end('{"services":[]}')).listen(0, "127.0.0.1");
      await once(answers, "listening");
      const { port } = answers.address() as AddressInfo;
      const listen = `127.0.0.1:${port}`;
      await using file = await temporaryFile("w.yaml", `admin: { listen: "${listen}" }\n${mistake}${good}`);
      for (const command of ["status", "healthcheck"]) {
        const { code, stderr } = await wakeport([command, "-c", file.path], { WAKEPORT_ADMIN_LISTEN: listen });
        assert.equal(code, 0, stderr);
        assert.match(stderr, /configuration file is invalid now \(see wakeport check\)/);
      }
      answers.close();
    });
  }

  test("report a missing file even if a wakeport responds", async () => {
    assert.equal((await wakeport(["status", "-c", "nowhere.yaml"])).code, 2);
  });
});
