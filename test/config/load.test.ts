import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { chdir, cwd, execPath, getuid } from "node:process";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { NoConfigError } from "../../src/config/default-paths.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigError } from "../../src/config/yaml/config-error.ts";

const run = promisify(execFile);
const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };
const good = "services: { ftp: { ports: [2121], container: vsftpd } }\n";

/** A temporary working directory. */
async function workingDirectory(): Promise<{ readonly folder: string } & AsyncDisposable> {
  const before = cwd();
  const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
  chdir(folder);
  return {
    folder,
    [Symbol.asyncDispose]: () => {
      chdir(before);
      return rm(folder, { recursive: true });
    },
  };
}

async function complaint(named?: string): Promise<string> {
  try {
    await loadConfig(named, context);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message;
  }
  assert.fail("it was loaded");
}

suite("loadConfig()", () => {
  test("loads the given file and uses its name as the source", async () => {
    await using here = await workingDirectory();
    await writeFile("other.yaml", good);
    const named = path.join(here.folder, "other.yaml");
    const { source, services } = await loadConfig(named, context);
    assert.equal(source, named);
    assert.equal(services[0]?.name, "ftp");
  });

  test("loads ./wakeport.yaml by default", async () => {
    await using _here = await workingDirectory();
    await writeFile("wakeport.yaml", good);
    assert.equal((await loadConfig(undefined, context)).source, "./wakeport.yaml");
  });

  test("throws NoConfigError if no default file exists", async () => {
    await using _here = await workingDirectory();
    await assert.rejects(loadConfig(undefined, context), NoConfigError);
  });

  test("reports a default file that is unusable", async () => {
    await using _here = await workingDirectory();
    await mkdir("wakeport.yaml");
    assert.match(await complaint(), /^\.\/wakeport\.yaml error: the path is a directory: use the file in it/);
  });

  test("reports a missing file, a directory and an empty file", async () => {
    await using here = await workingDirectory();
    assert.equal(await complaint("nope.yaml"), "nope.yaml error: the file does not exist\nnope.yaml: 1 problem");
    assert.match(await complaint(here.folder), / error: the path is a directory: use the file in it\n/);
    await writeFile("empty.yaml", "");
    assert.match(await complaint("empty.yaml"), /^empty\.yaml error: the file is empty\n/);
  });

  test("reports a file without read permission", async () => {
    await using here = await workingDirectory();
    const file = path.join(here.folder, "secret.yaml");
    await writeFile(file, good, { mode: 0o600 });
    const expected = `${file} error: no permission to read the file\n${file}: 1 problem`;
    if (getuid?.() !== 0) {
      await chmod(file, 0);
      assert.equal(await complaint(file), expected);
      return;
    }
    await chmod(here.folder, 0o755);
    const program = `
      process.setuid(65534);
      const { loadConfig } = await import(${JSON.stringify(import.meta.resolve("../../src/config/load.ts"))});
      await loadConfig(${JSON.stringify(file)}, {}).catch((error) => console.log(error.message));`;
    const { stdout } = await run(execPath, ["--input-type=module", "--eval", program], { timeout: 20_000 });
    assert.equal(stdout, `${expected}\n`);
  });
});
