import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { open } from "node:fs/promises";
import path from "node:path";
import { env, execPath } from "node:process";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { NoConfigError } from "../../src/config/default-paths.ts";
import { loadConfig } from "../../src/config/load.ts";
import { readConfig } from "../../src/config/read-config.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const context = { env: { TOKEN: "t0k" }, adminListen: { host: "127.0.0.1", port: 9464 } };
const options = { execPath, end: new AbortController().signal };
const service = `services:
  web:
    ports: ["8080:80", "8443/udp"]
    container: web
    banner: { deny: "no \${TOKEN}\\n" }
    access: { allow: [10.0.0.0/8], times: ["08:00-18:00"] }
    ready: { log: "started (now|then)" }
`;

suite("readConfig()", () => {
  for (const [how, node, reasons] of [
    ["in a child process", execPath, []],
    ["itself, if no child can be started", "/nonexistent/node", ["spawn /nonexistent/node ENOENT"]],
    ["itself, if the child ends without an answer", "/bin/false", ["the reader ended with status 1"]],
  ] as const) {
    test(`reads ${how}`, async () => {
      await using yaml = await temporaryFile("wakeport.yaml", service);
      const file = yaml.path;
      const found: string[] = [];
      const onFallback = (reason: string): unknown => found.push(reason);
      const read = await readConfig(file, context, { ...options, execPath: node, onFallback });
      assert.deepStrictEqual(read, await loadConfig(file, context));
      assert.deepEqual(found, reasons);
    });
  }

  test("throws the error of loadConfig(), with its problems and the address of the admin server", async () => {
    const invalid = "admin: { listen: 127.0.0.9:90 }\nservices: { a: { ports: [80], contaner: a } }\n";
    await using yaml = await temporaryFile("wakeport.yaml", invalid);
    const file = yaml.path;
    const expected = await loadConfig(file, context).catch((error: unknown) => error);
    assert.ok(expected instanceof ConfigError);
    const { message, problems, admin } = expected;
    assert.deepEqual(admin, { host: "127.0.0.9", port: 90 });
    await assert.rejects(readConfig(file, context, options), (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        { message: error.message, problems: error.problems, admin: error.admin },
        { message, problems, admin },
      );
      return true;
    });
    const missing = path.join(path.dirname(file), "missing.yaml");
    await assert.rejects(readConfig(missing, context, options), /missing\.yaml error: the file does not exist/);
  });

  test("reads a descriptor of this process itself", async () => {
    await using yaml = await temporaryFile("wakeport.yaml", service);
    const descriptor = await open(yaml.path);
    try {
      const { services } = await readConfig(`/proc/self/fd/${descriptor.fd}`, context, options);
      assert.deepEqual(
        services.map(({ name }) => name),
        ["web"],
      );
    } finally {
      await descriptor.close();
    }
  });

  test("reads itself if a library writes to the output of the child", async () => {
    await using yaml = await temporaryFile("wakeport.yaml", service);
    await using library = await temporaryFile("library.cjs", "console.log('loaded')");
    env["NODE_OPTIONS"] = `--require ${library.path}`;
    try {
      assert.deepStrictEqual(await readConfig(yaml.path, context, options), await loadConfig(yaml.path, context));
    } finally {
      delete env["NODE_OPTIONS"];
    }
  });

  test("throws ConfigError if no descriptor is free", async () => {
    const script = `
      import { openSync } from "node:fs";
      import { readConfig } from ${JSON.stringify(path.join(import.meta.dirname, "../../src/config/read-config.ts"))};
      try { for (;;) openSync("/dev/null"); } catch {}
      await readConfig("/no/such", ${JSON.stringify(context)}, { execPath: process.execPath, end: new AbortController().signal }).catch(({ name }) => console.log(name));`;
    const limited = 'ulimit -n 64; exec "$0" --input-type=module --eval "$1"';
    const { stdout } = await promisify(execFile)("/bin/sh", ["-c", limited, execPath, script]);
    assert.equal(stdout, "ConfigError\n");
  });

  test("ends a read that has not ended before the end of wakeport", async () => {
    await using folder = await temporaryFile("unused", "");
    const pipe = `${folder.path}.fifo`;
    await promisify(execFile)("mkfifo", [pipe]);
    const end = new AbortController();
    const reading = readConfig(pipe, context, { execPath, end: end.signal });
    end.abort();
    await assert.rejects(reading, /not read before the end of wakeport/);
  });

  test("throws NoConfigError if no default file exists", async () => {
    await assert.rejects(readConfig(undefined, context, options), NoConfigError);
  });
});
