/** FTP through wakeport with a server that does not know wakeport: every mode of every client. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { before, suite, test } from "node:test";
import { Authority } from "../support/certificates.ts";
import {
  buildVsftpd,
  cannotServeFtp,
  FtpBench,
  type FtpBenchOptions,
  IMAGE_FOLDER,
  md5,
  passiveRange,
} from "../support/engine/vsftpd-bench.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";

const MB = 1_000_000;
const isRoot = process.getuid?.() === 0;
const skip = await cannotServeFtp();
if (skip === false) before(buildVsftpd);

const ofCurl = {
  EPSV: [],
  "PASV, the address ignored": ["--disable-epsv", "--ftp-skip-pasv-ip"],
  "PASV, the address believed": ["--disable-epsv", "--no-ftp-skip-pasv-ip"],
  EPRT: ["--ftp-port", "-"],
  PORT: ["--disable-eprt", "--ftp-port", "-"],
} as const;

/** The server setups of the table in docs/ftp.md. */
const rows: Readonly<Record<string, FtpBenchOptions>> = {
  "no passive settings at all": {},
  "an unreachable address": { settings: { pasv_address: "203.0.113.99" } },
  "an address that data must come from": {
    settings: { pasv_promiscuous: "NO", port_promiscuous: "NO", connect_from_port_20: "YES" },
  },
};

/** On the engine's own machine, a client that uses the server's address would bypass wakeport. */
const pastNobody = { pasv_address: "127.0.0.1" };

suite("vsftpd", { skip }, () => {
  for (const [name, options] of Object.entries(rows)) {
    test(`with ${name}: curl in every mode`, async () => {
      await using ftp = await FtpBench.open(options);
      for (const [index, [mode, flags]] of Object.entries(ofCurl).entries()) {
        assert.match(await ftp.curl(...flags, `${ftp.url}/`), /welcome\.txt/, mode);
        await ftp.there(`file-${index}`, 3 * MB, ...flags);
      }
      await eventually("the server sleeps", () => ftp.isAsleep(), 20_000);
      assert.equal(await ftp.metric('wakeport_connections_total{service="ftp",outcome="relayed"}'), 15);
      assert.ok((await ftp.metric('wakeport_transferred_bytes_total{service="ftp",direction="in"}')) > 15 * MB);
      assert.ok((await ftp.metric('wakeport_transferred_bytes_total{service="ftp",direction="out"}')) > 15 * MB);
    });
  }

  test("no mode works without protocol: ftp", async () => {
    await using ftp = await FtpBench.open({ settings: pastNobody, service: { protocol: "raw" } });
    for (const [mode, flags] of Object.entries(ofCurl)) {
      const reported = await ftp.fails(...flags, `${ftp.url}/`);
      assert.match(reported, /230 Login successful/, mode);
      assert.doesNotMatch(reported, /welcome\.txt/, mode);
    }
  });

  test("through a listener for IPv4 and IPv6: curl in every mode", async () => {
    await using ftp = await FtpBench.open({ address: "" });
    for (const host of ["127.0.0.1", "[::1]"]) {
      for (const [mode, flags] of Object.entries(ofCurl)) {
        // With IPv6 curl always uses the extended modes.
        assert.match(await ftp.curl(...flags, `ftp://${host}:${ftp.port}/`), /welcome\.txt/, `${host} ${mode}`);
      }
    }
  });

  test("lftp in every mode", async () => {
    await using ftp = await FtpBench.open({ settings: { pasv_address: "203.0.113.99" } });
    const content = randomBytes(3 * MB);
    await writeFile(ftp.local("big"), content);
    for (const [index, mode] of [
      "passive-mode no",
      "prefer-epsv yes",
      "prefer-epsv no",
      "fix-pasv-address no",
    ].entries()) {
      const to = `incoming/lftp-${index}`;
      await ftp.lftp(
        `set ftp:${mode}; open ${ftp.url}; put ${ftp.local("big")} -o ${to}; get ${to} -o ${ftp.local("back")}`,
      );
      assert.equal(md5(await readFile(ftp.local("back"))), md5(content), mode);
    }
  });

  test("Python's ftplib, passive and active", async () => {
    await using ftp = await FtpBench.open();
    const script = `
for passive in (True, False):
    ftp.set_pasv(passive)
    ftp.storbinary(f"STOR incoming/python-{passive}", io.BytesIO(b"x" * 1_000_000))
    received = bytearray()
    ftp.retrbinary(f"RETR incoming/python-{passive}", received.extend)
    print(len(received), len(ftp.nlst("incoming")))
ftp.quit()`;
    assert.equal(await ftp.python(script), "1000000 1\n1000000 2\n");
  });

  test("IPv6 clients of a server with IPv4 only", async () => {
    await using ftp = await FtpBench.open({ address: "::1" });
    for (const [index, flags] of [ofCurl.EPSV, ofCurl.EPRT].entries()) await ftp.there(`six-${index}`, MB, ...flags);
    const script = `
print(ftp.af.name)
for passive in (True, False):
    ftp.set_pasv(passive)
    print(len(ftp.nlst()))
try:
    ftp.sendcmd("PASV")
except ftplib.error_temp as error:
    print(error)
print(ftp.sendcmd("NOOP"))`;
    const reported = (await ftp.python(script)).split("\n");
    assert.deepEqual(reported.slice(0, 4), ["AF_INET6", "2", "2", "425 PASV cannot be used here: use EPSV."]);
    assert.match(reported[4] ?? "", /^200/);
  });

  const needsVsftpd = {
    skip: !(isRoot && existsSync("/usr/sbin/vsftpd")) && "needs root, and vsftpd: test/engine/tools",
  };
  test("IPv4 clients of a server with IPv6 only", needsVsftpd, async () => {
    // A process of this machine, because the engine gives every container an IPv4 address.
    const port = await freePort();
    const root = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    await using _folder = { [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
    await chmod(root, 0o755);
    await mkdir(path.join(root, "incoming"));
    await chmod(path.join(root, "incoming"), 0o777);
    const settings = { listen: "NO", listen_ipv6: "YES", listen_address6: "::1", listen_port: port, anon_root: root };
    const words = Object.entries(settings).map(([key, value]) => `-o${key}=${value}`);
    const command = ["/usr/sbin/vsftpd", path.join(IMAGE_FOLDER, "vsftpd.conf"), ...words];
    const program = { command, listen: `[::1]:${port}` };
    await using ftp = await FtpBench.open({ targetPort: port, service: { container: undefined, process: program } });
    for (const [index, flags] of Object.values(ofCurl).entries()) await ftp.there(`four-${index}`, MB, ...flags);
  });

  test("a port of another host is rejected by the server itself, and logged", async () => {
    await using ftp = await FtpBench.open();
    const script = `
for command in (b"PORT 127,0,0,2,200,1", b"EPRT |1|10.9.9.9|25|", b"PORT 127,0,0,1,0,25", b"\\xff\\xf4PORT 127,0,0,1,200,1"):
    try:
        ftp.sock.sendall(command + b"\\r\\n")
        print(ftp.getresp())
    except ftplib.error_perm as error:
        print(error)
print(len(ftp.nlst()))`;
    const reported = (await ftp.python(script)).split("\n");
    assert.deepEqual(reported.slice(0, 4), [
      "500 Illegal PORT command.",
      "500 Illegal EPRT command.",
      "504 PORT is not allowed for ports below 1024.",
      "500 Illegal PORT command.",
    ]);
    assert.equal(reported[4], "2");
    const warnings = ftp.program.log.filter(({ event }) => event === "ftp.bounce");
    assert.equal(warnings.length, 1);
    assert.match(
      String(warnings[0]?.["msg"]),
      /data connection of 127\.0\.0\.1:\d+ to \|1\|127\.0\.0\.2\|51201\| rejected/,
    );
  });

  test("active mode to a closed port: the server itself replies 425 at once, and the log shows the reason", async () => {
    await using ftp = await FtpBench.open();
    const script = `
import socket
refusing = socket.socket()
refusing.bind(("127.0.0.1", 0))
port = refusing.getsockname()[1]
for command in ("LIST", "RETR welcome.txt", "STOR incoming/refused"):
    ftp.sendport("127.0.0.1", port)
    try:
        print(ftp.sendcmd(command))
    except ftplib.error_temp as error:
        print(error)
ftp.sendeprt("127.0.0.1", port)
try:
    print(ftp.sendcmd("NLST"))
except ftplib.error_temp as error:
    print(error)
ftp.set_pasv(False)
print(len(ftp.nlst()))
ftp.quit()`;
    const direct = "425 Failed to establish connection.";
    assert.deepEqual((await ftp.python(script)).split("\n"), [direct, direct, direct, direct, "2", ""]);
    const warnings = ftp.program.log.filter(({ event }) => event === "ftp.data_failed");
    assert.equal(warnings.length, 1);
    assert.match(String(warnings[0]?.["msg"]), /to client 127\.0\.0\.1:\d+ in active mode: connect ECONNREFUSED/);
  });

  test("pipelined commands are answered in order", async () => {
    await using ftp = await FtpBench.open();
    using peer = await connect(ftp.port);
    peer.send("USER anonymous\r\nPASS x\r\nPASV\r\nPORT 10,9,9,9,1,1\r\nEPSV\r\nNOOP\r\nQUIT\r\n");
    assert.equal(await peer.ended(), "ended");
    const codes = [...peer.text.matchAll(/^(\d{3}) /gm)].map(([, code]) => code).join(" ");
    assert.equal(codes, "220 230 230 227 500 229 200 221");
    peer.end();
  });

  test("an upload that is reset is incomplete on the server", async () => {
    await using ftp = await FtpBench.open();
    const script = `
connection = ftp.transfercmd("STOR incoming/half")
connection.sendall(b"x" * 1_000_000)
import socket, struct
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.close()
try:
    print(ftp.voidresp())
except ftplib.all_errors as error:
    print(error)`;
    assert.match(await ftp.python(script), /^(426|451)/);
  });

  test("an aborted download ends on both sides, and the control connection continues", async () => {
    await using ftp = await FtpBench.open();
    const script = `
ftp.storbinary("STOR incoming/big", io.BytesIO(b"x" * 30_000_000))
connection = ftp.transfercmd("RETR incoming/big")
connection.recv(1000)
connection.close()
try:
    print(ftp.voidresp())
except ftplib.all_errors as error:
    print(error)
print(ftp.sendcmd("NOOP"))`;
    const reported = await ftp.python(script);
    assert.match(reported, /^426.*\n200/);
  });

  test("shutdown resets a transfer at the drain deadline", async () => {
    await using ftp = await FtpBench.open({ settings: { anon_max_rate: "100000" } });
    await using stack = new AsyncDisposableStack();
    const content = ftp.local("big");
    await writeFile(content, randomBytes(10 * MB));
    for (const flags of [ofCurl.EPSV, ofCurl.EPRT]) {
      const uploading = ftp.fails(...flags, "--upload-file", content, `${ftp.url}/incoming/${flags.length}`);
      stack.defer(async () => {
        assert.doesNotMatch(await uploading, /^< 226/m);
      });
    }
    const moved = 'wakeport_transferred_bytes_total{service="ftp",direction="in"}';
    await eventually("both are uploading", async () => (await ftp.metric(moved)) > 2 * 65_536, 20_000);
    ftp.program.child.kill("SIGTERM");
    assert.equal((await ftp.program.finished()).code, 0);
    assert.equal(ftp.program.log.at(-1)?.event, "shutdown.done");
  });

  test("passive mode after AUTH TLS is not handled: logged once", async () => {
    using authority = new Authority();
    await using ftp = await FtpBench.open({
      settings: {
        ...pastNobody,
        ssl_enable: "YES",
        allow_anon_ssl: "YES",
        require_ssl_reuse: "NO",
        rsa_cert_file: "/tls/cert.pem",
        rsa_private_key_file: "/tls/key.pem",
      },
      binds: [`${authority.issue({ names: "IP:127.0.0.1" })}:/tls:ro`],
    });
    for (const [mode, flags] of Object.entries(ofCurl)) {
      // The control connection works; the data connection fails at once.
      const reported = await ftp.fails("--ssl-reqd", "--insecure", ...flags, `${ftp.url}/`);
      assert.match(reported, /230 Login successful/, mode);
      assert.doesNotMatch(reported, /welcome\.txt/, mode);
    }
    assert.equal(ftp.program.log.filter(({ event }) => event === "ftp.encrypted").length, 1);
  });
});

suite("vsftpd behind data ports", { skip }, () => {
  test("without protocol: ftp, the server needs a range and an address, and active modes do not work", async () => {
    const { data, settings } = await passiveRange();
    await using ftp = await FtpBench.open({
      settings: { ...settings, ...pastNobody },
      service: { protocol: "raw", data },
    });
    for (const mode of ["EPSV", "PASV, the address ignored", "PASV, the address believed"] as const) {
      await ftp.there(`file-${mode.length}`, MB, ...ofCurl[mode]);
    }
    for (const flags of [ofCurl.EPRT, ofCurl.PORT]) {
      assert.doesNotMatch(await ftp.fails(...flags, `${ftp.url}/`), /welcome\.txt/);
    }
  });

  test("with protocol: ftp, the server needs no settings, and passive modes use the data ports only", async () => {
    const { data, first } = await passiveRange();
    await using ftp = await FtpBench.open({ service: { data } });
    for (const [index, flags] of Object.values(ofCurl).entries()) await ftp.there(`file-${index}`, MB, ...flags);
    const reported = await ftp.python('print(ftp.sendcmd("PASV")); print(ftp.sendcmd("EPSV"))');
    const [high = 0, low = 0] = /,(\d+),(\d+)\)/.exec(reported)?.slice(1).map(Number) ?? [];
    for (const port of [high * 256 + low, Number(/\|\|\|(\d+)\|/.exec(reported)?.[1])]) {
      assert.ok(port >= first && port < first + 10, `${port} is not one of ${data}`);
    }
  });

  test("TLS clients use the data ports in every passive mode", async () => {
    using authority = new Authority();
    const { data, settings } = await passiveRange();
    const tls = { ssl_enable: "YES", allow_anon_ssl: "YES", require_ssl_reuse: "NO" };
    const files = { rsa_cert_file: "/tls/cert.pem", rsa_private_key_file: "/tls/key.pem" };
    const binds = [`${authority.issue({ names: "IP:127.0.0.1" })}:/tls:ro`];
    await using ftp = await FtpBench.open({
      settings: { ...settings, ...pastNobody, ...tls, ...files },
      binds,
      service: { data },
    });
    for (const mode of ["EPSV", "PASV, the address ignored", "PASV, the address believed"] as const) {
      const fetched = await ftp.curl("--ssl-reqd", "--insecure", ...ofCurl[mode], `${ftp.url}/welcome.txt`);
      assert.match(fetched, /until you asked/, mode);
    }
    // curl resets uploads if it has not read the TLS 1.3 session tickets.
    const script = `
tls = ftplib.FTP_TLS()
tls.connect(ftp.host, ftp.port, timeout=30)
tls.login()
tls.prot_p()
print(tls.storbinary("STOR incoming/tls", io.BytesIO(b"x" * 1_000_000)))
received = bytearray()
print(tls.retrbinary("RETR incoming/tls", received.extend), len(received))`;
    assert.match(await ftp.python(script), /^226.*\n226.* 1000000\n$/);
    assert.equal(ftp.program.log.filter(({ event }) => event === "ftp.encrypted").length, 0);
  });
});

suite("a slow server", { skip }, () => {
  const SLOW_S = 20;

  test(`that starts in ${SLOW_S} s: every client waits, and is served`, async () => {
    await using ftp = await FtpBench.open({ before: `sleep ${SLOW_S}` });
    using peer = await connect(ftp.port);
    const [listed, fetched, counted] = await Promise.all([
      ftp.curl("--verbose", "--stderr", "-", `${ftp.url}/`),
      ftp.lftp(`open ${ftp.url}; cat welcome.txt`),
      ftp.python(`print(ftp.welcome); print(len(ftp.nlst()))`),
    ]);
    assert.match(listed, /220-ftp is starting, please wait: \d+ s so far/);
    assert.match(listed, /welcome\.txt/);
    assert.match(fetched, /until you asked/);
    assert.match(counted, /^220-.*\n220 \(vsFTPd[^\n]*\n2\n$/s);
    await eventually("silent clients get the greeting too", () => /^(220-ftp is .*\r\n)+220 \(vsFTPd/.test(peer.text));
  });

  test("that fails to start: every client gets 421", async () => {
    await using ftp = await FtpBench.open({ before: "sleep 3 && false" });
    const reported = (error: { readonly stdout?: string; readonly stderr?: string }): string =>
      `${error.stdout}${error.stderr}`;
    const [curl, lftp, python] = await Promise.all([
      ftp.curl("--verbose", `${ftp.url}/`).then(String, reported),
      ftp.lftp(`debug 9; open ${ftp.url}; ls`).then(String, reported),
      ftp.python("print('?')").then(String, reported),
    ]);
    for (const words of [curl, lftp, python]) assert.match(words, /421 ftp is not available/);
  });
});
