/** The FTP example of compose/ with its images, its configuration, and common clients. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/ftp");
/** Other ports than the example's, which may be in use. */
const ports = { ftp: await freePort(), admin: await freePort() };
const SERVER = `ftp://127.0.0.1:${ports.ftp}`;
const ADMIN = `http://127.0.0.1:${ports.admin}`;
/** The example's idle timeout is 30 s. */
const SLEEP_MS = 60_000;
const project = `wakeport-test-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"], ["lftp", "--version"]);

/** The example with the test's ports, and the label by which test/engine/up finds leftovers. */
class Example {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async write(): Promise<void> {
    const config = path.join(this.#folder, "config");
    await mkdir(config);
    const shown = await readFile(path.join(EXAMPLE, "config/wakeport.yaml"), "utf8");
    const own = shown.replace(":2121:", `:${ports.ftp}:`).replace(":9464", `:${ports.admin}`);
    await writeFile(path.join(config, "wakeport.yaml"), own);
    // The folder of mkdtemp is private, and wakeport is root without capabilities.
    await chmod(this.#folder, 0o755);
    const labels = { "wakeport-test": "e2e" };
    const override = {
      services: { wakeport: { labels, volumes: [`${config}:/etc/wakeport:ro`] }, ftp: { labels } },
      networks: { default: { labels } },
      volumes: { files: { labels } },
    };
    await writeFile(this.#override, JSON.stringify(override));
  }

  compose(...args: string[]): Promise<string> {
    return run(
      "docker",
      ["compose", "-p", project, "-f", `${EXAMPLE}/compose.yaml`, "-f", this.#override, ...args],
      BUILD_MS,
    );
  }

  /** A field of one of its containers, in Docker's template language. */
  async inspect(service: string, field: string): Promise<string> {
    return (await run("docker", ["inspect", "-f", `{{${field}}}`, `${project}-${service}-1`])).trim();
  }

  get #override(): string {
    return path.join(this.#folder, "override.json");
  }
}

function curl(...args: string[]): Promise<string> {
  return run("curl", ["--silent", "--show-error", "--max-time", "30", ...args]);
}

async function metric(sample: string): Promise<number> {
  const lines = (await curl(`${ADMIN}/metrics`)).split("\n");
  const line = lines.find((one) => one.startsWith(`${sample} `));
  assert.ok(line, `there is no ${sample}`);
  return Number(line.slice(sample.length + 1));
}

const isAsleep = async (): Promise<boolean> =>
  (await metric('wakeport_service_state{service="ftp",state="asleep"}')) === 1;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

suite("the FTP example", { skip }, () => {
  let folder: string;
  let example: Example;
  const local = (name: string): string => path.join(folder, name);

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    example = new Example(folder);
    await example.write();
    await example.compose("up", "--build", "--detach");
    await eventually("wakeport is ready", () => succeeds("curl", "--silent", "--fail", `${ADMIN}/readyz`), COMMAND_MS);
  });

  after(async () => {
    await example.compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(folder, { recursive: true });
  });

  test("curl lists and downloads", async () => {
    assert.match(await curl(`${SERVER}/`), /welcome\.txt/);
    assert.match(await curl(`${SERVER}/welcome.txt`), /until you asked/);
  });

  const modes = [
    { name: "EPSV", flags: [] },
    { name: "PASV, with a client that takes only the port", flags: ["--disable-epsv"] },
    { name: "PASV, with a client that believes the address", flags: ["--disable-epsv", "--no-ftp-skip-pasv-ip"] },
    { name: "EPRT", flags: ["--ftp-port", "-"] },
    { name: "PORT", flags: ["--disable-eprt", "--ftp-port", "-"] },
  ];
  for (const [index, { name, flags }] of modes.entries()) {
    test(`curl uploads and downloads 8 MB by ${name}`, async () => {
      const bytes = randomBytes(8 << 20);
      await writeFile(local("big"), bytes);
      await curl(...flags, "--upload-file", local("big"), `${SERVER}/incoming/big-${index}`);
      await curl(...flags, "--output", local("back"), `${SERVER}/incoming/big-${index}`);
      assert.equal(sha256(await readFile(local("back"))), sha256(bytes));
    });
  }

  test("lftp mirrors a tree in both directions", async () => {
    await mkdir(local("tree/deep"), { recursive: true });
    const names = ["one", "two", "deep/three"];
    for (const name of names) await writeFile(local(`tree/${name}`), randomBytes(100_000));
    const upload = `mirror --reverse ${local("tree")} tree`;
    const download = `mirror tree ${local("copy")}`;
    const settings = "set net:timeout 20; set net:max-retries 2";
    await run("lftp", ["-c", `${settings}; open ${SERVER}/incoming; ${upload}; ${download}`]);
    for (const name of names) {
      assert.equal(sha256(await readFile(local(`copy/${name}`))), sha256(await readFile(local(`tree/${name}`))));
    }
  });

  test("Python's ftplib works", async (t) => {
    if (!(await succeeds("python3", "-c", "import ftplib"))) return t.skip("no python3 here");
    const script = `
import ftplib, io
ftp = ftplib.FTP()
ftp.connect("127.0.0.1", ${ports.ftp}, timeout=20)
ftp.login()
ftp.storbinary("STOR incoming/python.bin", io.BytesIO(b"x" * 1_000_000))
received = bytearray()
ftp.retrbinary("RETR incoming/python.bin", received.extend)
print(len(received), ftp.nlst("incoming").count("incoming/python.bin"))
ftp.quit()
`;
    assert.equal((await run("python3", ["-c", script])).trim(), "1000000 1");
  });

  test("no port is published: wakeport is in the host network, and listens on the loopback only", async () => {
    for (const service of ["wakeport", "ftp"]) {
      assert.match(await example.inspect(service, ".HostConfig.PortBindings"), /^map\[\]$/);
    }
    assert.equal(await example.inspect("wakeport", ".HostConfig.NetworkMode"), "host");
  });

  test("the container has no capabilities, a read-only root, and no new privileges", async () => {
    assert.equal(await example.inspect("wakeport", ".HostConfig.CapDrop"), "[ALL]");
    assert.equal(await example.inspect("wakeport", ".HostConfig.ReadonlyRootfs"), "true");
    assert.equal(await example.inspect("wakeport", ".HostConfig.SecurityOpt"), "[no-new-privileges:true]");
  });

  test("healthcheck and status work in wakeport's container", async () => {
    await example.compose("exec", "-T", "wakeport", "wakeport", "healthcheck");
    assert.match(await example.compose("exec", "-T", "wakeport", "wakeport", "status"), /ftp +ready +container ftp/);
  });

  test("the idle server sleeps, and the metrics show it", async () => {
    await eventually("the server sleeps", isAsleep, SLEEP_MS);
    assert.equal(await example.inspect("ftp", ".State.Status"), "exited");
    assert.equal(await metric('wakeport_sleeps_total{service="ftp",reason="idle",action="stop"}'), 1);
    assert.ok((await metric('wakeport_connections_total{service="ftp",outcome="relayed"}')) > 10);
    assert.equal(await metric('wakeport_connections_total{service="ftp",outcome="dial_failed"}'), 0);
  });

  test("several clients at once wake the server, and find the uploaded files", async () => {
    const fetched = await Promise.all([0, 1, 2].map((index) => curl("--head", `${SERVER}/incoming/big-${index}`)));
    for (const head of fetched) assert.match(head, /Content-Length: 8388608/);
    assert.equal(await example.inspect("ftp", ".State.Status"), "running");
    assert.equal(await metric('wakeport_activations_total{service="ftp",outcome="ready"}'), 2);
  });

  test("docker compose stop: wakeport exits in order, and stops the server", async () => {
    await example.compose("stop", "wakeport");
    assert.equal(await example.inspect("wakeport", ".State.ExitCode"), "0");
    assert.equal(await example.inspect("ftp", ".State.Status"), "exited");
  });
});
