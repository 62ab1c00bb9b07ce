/** FTP through data ports, with a server that knows at most the address of wakeport, in the modes of real clients. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import { before, suite, test } from "node:test";
import { Authority } from "../support/certificates.ts";
import { run, succeeds } from "../support/engine/compose.ts";
import {
  buildVsftpd,
  cannotServeFtp,
  FtpBench,
  type FtpBenchOptions,
  passiveRange,
} from "../support/engine/vsftpd-bench.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Peer } from "../support/net/tcp.ts";

const skip = await cannotServeFtp();
const ADDRESS = { pasv_address: "127.0.0.1" };
const BYTES = 3_000_000;

/** A server with a passive port range, and a service that forwards the range without parsing FTP. */
async function openRanged(options: FtpBenchOptions = {}): Promise<FtpBench & { readonly first: number }> {
  const { first, data, settings } = await passiveRange(5);
  const service = { protocol: "raw", data, ready: { banner: "220" }, ...options.service };
  const ftp = await FtpBench.open({ ...options, settings: { ...settings, ...options.settings }, service });
  return Object.assign(ftp, { first });
}

const passive = {
  EPSV: [],
  "PASV, with a client that takes only the port": ["--disable-epsv"],
  "PASV, with a client that believes the address": ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
} as const;

/** Uploads, downloads and lists a file. */
async function putAndGet(ftp: FtpBench, ...flags: string[]): Promise<void> {
  const bytes = randomBytes(BYTES);
  await writeFile(ftp.local("up"), bytes);
  await ftp.curl(...flags, "--upload-file", ftp.local("up"), `${ftp.url}/incoming/up`);
  await ftp.curl(...flags, "--output", ftp.local("back"), `${ftp.url}/incoming/up`);
  assert.ok((await readFile(ftp.local("back"))).equals(bytes));
  assert.match(await ftp.curl(...flags, `${ftp.url}/incoming/`), new RegExp(`${BYTES} .* up`));
}

/** ftplib that uses or ignores the address of PASV; prints the number of received bytes. */
function ftplib(ftp: FtpBench, { trust, tls = false }: { trust: boolean; tls?: boolean }): Promise<string> {
  const script = `
import ftplib, io, ssl
context = ssl._create_unverified_context()
ftp = ftplib.FTP_TLS(context=context) if ${tls ? "True" : "False"} else ftplib.FTP()
ftp.connect("127.0.0.1", ${ftp.port}, timeout=20)
ftp.login()
if ${tls ? "True" : "False"}: ftp.prot_p()
ftp.trust_server_pasv_ipv4_address = ${trust ? "True" : "False"}
ftp.storbinary("STOR incoming/python.bin", io.BytesIO(b"x" * ${BYTES}))
received = bytearray()
ftp.retrbinary("RETR incoming/python.bin", received.extend)
print(len(received), ftp.nlst("incoming").count("incoming/python.bin"), ftp.quit())
`;
  return run("python3", ["-c", script]);
}

suite("FTP through data ports", { skip }, () => {
  before(buildVsftpd);

  test("with a range alone: EPSV and PASV work, and a client that uses the address bypasses wakeport", async () => {
    await using ftp = await openRanged();
    await putAndGet(ftp, ...passive.EPSV);
    await putAndGet(ftp, ...passive["PASV, with a client that takes only the port"]);
    assert.match(await ftplib(ftp, { trust: false }), new RegExp(`^${BYTES} 1 221`));
    await eventually("nine transfers end", () => ftp.transfers === 9);
    await ftp.curl(...passive["PASV, with a client that believes the address"], `${ftp.url}/`).catch(() => {});
    await ftp.curl("--list-only", `${ftp.url}/`);
    await eventually("the tenth transfer ends", () => ftp.transfers >= 10);
    assert.equal(ftp.transfers, 10, "the previous transfer bypassed wakeport");
  });

  for (const [mode, flags] of Object.entries(passive)) {
    test(`with a range and wakeport's address: ${mode}`, async () => {
      await using ftp = await openRanged({ settings: ADDRESS });
      await putAndGet(ftp, ...flags);
      await eventually("three transfers through wakeport", () => ftp.transfers === 3);
    });
  }

  test("with a range and wakeport's address: lftp, and ftplib with and without the address", async () => {
    await using ftp = await openRanged({ settings: ADDRESS });
    await writeFile(ftp.local("up"), randomBytes(BYTES));
    const transfers = `put ${ftp.local("up")} -o lftp; get lftp -o ${ftp.local("back")}; ls`;
    const believed = "set ftp:fix-pasv-address off";
    assert.match(await ftp.lftp(`${believed}; open ${ftp.url}/incoming; ${transfers}`), /lftp/);
    assert.ok((await readFile(ftp.local("back"))).equals(await readFile(ftp.local("up"))));
    for (const trust of [true, false]) assert.match(await ftplib(ftp, { trust }), new RegExp(`^${BYTES} 1 221`));
    await eventually("nine transfers through wakeport", () => ftp.transfers >= 9);
  });

  test("active transfers need a server that connects to any address, and bypass wakeport", async () => {
    // The engine's bridge, on which containers reach this machine.
    const active = ["--ftp-port", "docker0"];
    {
      await using strict = await openRanged();
      assert.equal(await succeeds("curl", "-s", "-m", "10", "--ftp-port", "127.0.0.1", `${strict.url}/`), false);
    }
    await using lax = await openRanged({ settings: { port_promiscuous: "YES" } });
    assert.match(await lax.curl(...active, `${lax.url}/`), /welcome\.txt/);
    assert.equal(lax.transfers, 0);
  });

  test("over TLS, which hides the control connection from wakeport", async () => {
    using authority = new Authority();
    const certificate = authority.issue({ names: "IP:127.0.0.1" });
    const allowed = { ssl_enable: "YES", allow_anon_ssl: "YES", require_ssl_reuse: "NO", ssl_ciphers: "HIGH" };
    const forced = { force_anon_logins_ssl: "YES", force_anon_data_ssl: "YES" };
    const files = { rsa_cert_file: "/tls/cert.pem", rsa_private_key_file: "/tls/key.pem" };
    const settings = { ...ADDRESS, ...allowed, ...forced, ...files };
    await using ftp = await openRanged({ settings, binds: [`${certificate}:/tls:ro`] });
    assert.equal(await succeeds("curl", "-s", "-m", "20", `${ftp.url}/`), false, "the server requires TLS");
    // With TLS 1.3 curl resets uploads because of unread bytes, and its kernel may discard the end of the upload.
    const curl = ["--ssl-reqd", "--insecure", "--tls-max", "1.2"];
    for (const flags of Object.values(passive)) await putAndGet(ftp, ...curl, ...flags);
    for (const trust of [true, false]) {
      assert.match(await ftplib(ftp, { trust, tls: true }), new RegExp(`^${BYTES} 1 221`));
    }
    const encrypted = "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ftp:ssl-allow-anonymous yes";
    assert.match(await ftp.lftp(`set ssl:verify-certificate no; ${encrypted}; open ${ftp.url}; ls`), /welcome/);
    await eventually("sixteen transfers through wakeport", () => ftp.transfers >= 16);
  });

  test("a transfer of several idle timeouts is not cut, and the server sleeps afterwards", async () => {
    await using ftp = await openRanged({
      settings: { ...ADDRESS, anon_max_rate: "1000000" },
      service: { idle_timeout: "300ms" },
    });
    await putAndGet(ftp);
    await ftp.program.logged("target.asleep");
    const closed = ftp.program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([...new Set(closed.map(({ outcome, end }) => `${outcome} ${end}`))], ["relayed clean"]);
  });

  test("clients of another service of the same server are rejected", async () => {
    const port = await freePort();
    const other = { ports: [`127.0.0.1:${port}:21`], ready: { banner: "220" }, stop_grace: "2s" };
    const others = (container: string) => ({ other: { ...other, container } });
    await using ftp = await openRanged({ settings: ADDRESS, others });
    const list = (url: string): Promise<boolean> => succeeds("curl", "-s", "-m", "5", "--ftp-skip-pasv-ip", `${url}/`);
    assert.equal(await list(`ftp://127.0.0.1:${port}`), false);
    assert.ok((await ftp.metric('wakeport_connections_denied_total{service="ftp",reason="no_control"}')) > 0);
    assert.equal(await list(ftp.url), true);
  });

  test("200 scans of the data ports of a sleeping server start nothing, and scans of an awake server are rejected", async () => {
    await using ftp = await openRanged({ settings: ADDRESS });
    const refused = async (from: string): Promise<void> => {
      const port = ftp.first + Math.floor(Math.random() * 5);
      using peer = new Peer(net.connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true }));
      await eventually("the scan is rejected", () => peer.fate !== "open");
      assert.equal(peer.received, 0);
    };
    for (let scans = 0; scans < 200; scans += 1) await refused("127.0.0.1");
    const denied = 'wakeport_connections_denied_total{service="ftp",reason="no_control"}';
    assert.equal(await ftp.metric(denied), 200);
    assert.equal((await ftp.container.state())?.Status, "created", "the server was not started");
    using control = new Peer(net.connect({ port: ftp.port, host: "127.0.0.1", allowHalfOpen: true }));
    await eventually("a greeting", () => control.text.startsWith("220 "));
    await refused("127.0.0.5");
    assert.equal(await ftp.metric(denied), 201);
  });
});
