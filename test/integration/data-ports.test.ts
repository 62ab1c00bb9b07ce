/** FTP through data ports, with a server that is told nothing of wakeport but its address, in the modes of real clients. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import { before, suite, test } from "node:test";
import { Authority } from "../support/certificates.ts";
import { run, succeeds } from "../support/compose.ts";
import { isProxied } from "../support/narrow-proxy.ts";
import { freePort, until } from "../support/program.ts";
import { Peer } from "../support/tcp.ts";
import { buildVsftpd, FtpBench } from "./ftp-bench.ts";
import { skip as noEngine } from "./lab.ts";

const skip = noEngine || (isProxied && "a narrow socket proxy lets no image be built");
const ADDRESS = "pasv_address=127.0.0.1";
const BYTES = 3_000_000;

const passive = {
  EPSV: [],
  "PASV, with a client that takes only the port": ["--disable-epsv"],
  "PASV, with a client that believes the address": ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
} as const;

/** Puts a file there, gets it back, lists it. */
async function putAndGet(ftp: FtpBench, ...flags: string[]): Promise<void> {
  const bytes = randomBytes(BYTES);
  await writeFile(ftp.local("up"), bytes);
  await ftp.curl(...flags, "--upload-file", ftp.local("up"), `${ftp.url}/incoming/up`);
  await ftp.curl(...flags, "--output", ftp.local("back"), `${ftp.url}/incoming/up`);
  assert.ok((await readFile(ftp.local("back"))).equals(bytes));
  assert.match(await ftp.curl(...flags, `${ftp.url}/incoming/`), new RegExp(`${BYTES} .* up`));
}

/** ftplib with the address of PASV believed or not; prints how many bytes came back. */
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

  test("with a range alone: EPSV and PASV work, a client that believes the address goes past wakeport", async () => {
    await using ftp = await FtpBench.open();
    await putAndGet(ftp, ...passive.EPSV);
    await putAndGet(ftp, ...passive["PASV, with a client that takes only the port"]);
    assert.match(await ftplib(ftp, { trust: false }), new RegExp(`^${BYTES} 1 221`));
    await until(() => ftp.transfers === 9, "the end of nine transfers");
    await ftp.curl(...passive["PASV, with a client that believes the address"], `${ftp.url}/`).catch(() => {});
    await ftp.curl("--list-only", `${ftp.url}/`);
    await until(() => ftp.transfers >= 10, "the end of the tenth");
    assert.equal(ftp.transfers, 10, "the one before came by another way, if at all");
  });

  for (const [mode, flags] of Object.entries(passive)) {
    test(`with a range and wakeport's address: ${mode}`, async () => {
      await using ftp = await FtpBench.open({ settings: () => ADDRESS });
      await putAndGet(ftp, ...flags);
      await until(() => ftp.transfers === 3, "three transfers through wakeport");
    });
  }

  test("with a range and wakeport's address: lftp, and ftplib whether it believes the address or not", async () => {
    await using ftp = await FtpBench.open({ settings: () => ADDRESS });
    await writeFile(ftp.local("up"), randomBytes(BYTES));
    const settings = "set net:timeout 20; set net:max-retries 1; set ftp:fix-pasv-address off";
    const transfers = `put ${ftp.local("up")} -o lftp; get lftp -o ${ftp.local("back")}; ls`;
    assert.match(await run("lftp", ["-c", `${settings}; open ${ftp.url}/incoming; ${transfers}`]), /lftp/);
    assert.ok((await readFile(ftp.local("back"))).equals(await readFile(ftp.local("up"))));
    for (const trust of [true, false]) assert.match(await ftplib(ftp, { trust }), new RegExp(`^${BYTES} 1 221`));
    await until(() => ftp.transfers >= 9, "nine transfers through wakeport");
  });

  test("active transfers need a server that connects to strangers, and go past wakeport", async () => {
    // The engine's bridge, at whose address containers reach this machine.
    const active = ["--ftp-port", "docker0"];
    await using strict = await FtpBench.open();
    assert.equal(await succeeds("curl", "-s", "-m", "10", "--ftp-port", "127.0.0.1", `${strict.url}/`), false);
    await using lax = await FtpBench.open({ settings: () => "port_promiscuous=YES" });
    assert.match(await lax.curl(...active, `${lax.url}/`), /welcome\.txt/);
    assert.equal(lax.transfers, 0);
  });

  test("over TLS, where nobody on the way can read what the server tells", async () => {
    using authority = new Authority();
    const certificate = authority.issue({ names: "IP:127.0.0.1" });
    const tls = `ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\nrequire_ssl_reuse=NO
rsa_cert_file=/tls/cert.pem\nrsa_private_key_file=/tls/key.pem\nssl_ciphers=HIGH\n${ADDRESS}`;
    await using ftp = await FtpBench.open({ settings: () => tls, binds: [`${certificate}:/tls:ro`] });
    assert.equal(await succeeds("curl", "-s", "-m", "20", `${ftp.url}/`), false, "the server wants TLS");
    for (const flags of Object.values(passive)) await putAndGet(ftp, "--ssl-reqd", "--insecure", ...flags);
    for (const trust of [true, false]) {
      assert.match(await ftplib(ftp, { trust, tls: true }), new RegExp(`^${BYTES} 1 221`));
    }
    const settings = "set net:timeout 20; set net:max-retries 1; set ftp:ssl-force yes; set ssl:verify-certificate no";
    assert.match(
      await run("lftp", [
        "-c",
        `${settings}; set ftp:ssl-protect-data yes; set ftp:ssl-allow-anonymous yes; open ${ftp.url}; ls`,
      ]),
      /welcome/,
    );
    await until(() => ftp.transfers >= 16, "sixteen transfers through wakeport");
  });

  test("a transfer outlasts the idle timeout several times, and then the server sleeps", async () => {
    await using ftp = await FtpBench.open({
      settings: () => `${ADDRESS}\nanon_max_rate=1000000`,
      service: "idle_timeout: 300ms",
    });
    await putAndGet(ftp);
    await ftp.program.logged("target.asleep");
    const closed = ftp.program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([...new Set(closed.map(({ outcome, end }) => `${outcome} ${end}`))], ["relayed clean"]);
  });

  test("clients of another service of the same server have no business at them", async () => {
    const port = await freePort();
    const others = (container: string): string =>
      `  other: { ports: ["127.0.0.1:${port}:21"], container: ${container}, ready: { banner: "220" }, stop_grace: 2s }`;
    await using ftp = await FtpBench.open({ settings: () => ADDRESS, others });
    const list = (url: string): Promise<boolean> => succeeds("curl", "-s", "-m", "5", "--ftp-skip-pasv-ip", `${url}/`);
    assert.equal(await list(`ftp://127.0.0.1:${port}`), false);
    assert.ok((await ftp.metric('wakeport_connections_denied_total{service="ftp",reason="no_control"}')) > 0);
    assert.equal(await list(ftp.url), true);
  });

  test("200 scans of the data ports of a sleeping server start nothing, and others are refused when it is awake", async () => {
    await using ftp = await FtpBench.open({ settings: () => ADDRESS });
    const refused = async (from: string): Promise<void> => {
      const port = ftp.range[0] + Math.floor(Math.random() * 5);
      using peer = new Peer(net.connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true }));
      await until(() => peer.fate !== "open", "a refusal");
      assert.equal(peer.received, 0);
    };
    for (let scans = 0; scans < 200; scans += 1) await refused("127.0.0.1");
    const denied = 'wakeport_connections_denied_total{service="ftp",reason="no_control"}';
    assert.equal(await ftp.metric(denied), 200);
    assert.equal((await ftp.container.state())?.Status, "created", "nobody has started it");
    using control = new Peer(net.connect({ port: ftp.port, host: "127.0.0.1", allowHalfOpen: true }));
    await until(() => control.text.startsWith("220 "), "the server's greeting");
    await refused("127.0.0.5");
    assert.equal(await ftp.metric(denied), 201);
  });
});
