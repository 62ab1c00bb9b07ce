/** vsftpd as an inetd program, with real clients in every mode of FTP. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { type Bench, start } from "../support/program/inetd.ts";

const run = promisify(execFile);
const VSFTPD = "/usr/sbin/vsftpd";
const isRoot = process.getuid?.() === 0;
const needsVsftpd = { skip: isRoot ? !existsSync(VSFTPD) && "needs vsftpd: run test/engine/tools" : "needs root" };

suite("vsftpd with listen=NO", needsVsftpd, () => {
  interface Ftp extends Bench {
    readonly folder: string;
    readonly url: string;
  }

  async function startFtp(): Promise<Ftp> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    await mkdir(path.join(folder, "root/pub"), { recursive: true });
    await chmod(folder, 0o755);
    await chmod(path.join(folder, "root/pub"), 0o777);
    await writeFile(path.join(folder, "root/big.bin"), Buffer.alloc(3_000_000, "wakeport "));
    const config = path.join(folder, "vsftpd.conf");
    await writeFile(
      config,
      `listen=NO\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\nanon_umask=022
no_anon_password=YES\nanon_root=${folder}/root\nconnect_from_port_20=NO\nxferlog_enable=YES\nvsftpd_log_file=${folder}/log\n`,
    );
    const bench = await start(`{ command: [${VSFTPD}, ${config}] }`);
    return {
      ...bench,
      folder,
      url: `ftp://127.0.0.1:${bench.port}`,
      [Symbol.asyncDispose]: async () => {
        await bench[Symbol.asyncDispose]();
        await rm(folder, { recursive: true });
      },
    };
  }

  const big = Buffer.alloc(3_000_000, "wakeport ");
  const way = { encoding: "buffer", maxBuffer: 10_000_000, timeout: 20_000 } as const;

  for (const [mode, flags] of [
    ["extended passive", []],
    ["passive", ["--disable-epsv"]],
    ["extended active", ["--ftp-port", "-"]],
    ["active", ["--disable-eprt", "--ftp-port", "-"]],
  ] as const) {
    test(`serves curl in ${mode} mode: login, list, get, put`, async () => {
      await using ftp = await startFtp();
      const curl = (...args: string[]) => run("curl", ["-sS", "-m", "10", ...flags, ...args], way);
      assert.match((await curl(`${ftp.url}/`)).stdout.toString(), /big\.bin/);
      assert.ok((await curl(`${ftp.url}/big.bin`)).stdout.equals(big));
      await curl("-T", path.join(ftp.folder, "root/big.bin"), `${ftp.url}/pub/up.bin`);
      assert.ok((await readFile(path.join(ftp.folder, "root/pub/up.bin"))).equals(big));
      // The server sees the client's address itself.
      assert.match(await readFile(path.join(ftp.folder, "log"), "utf8"), /CONNECT: Client "(::ffff:)?127\.0\.0\.1"/);
    });
  }

  for (const [mode, passive] of [
    ["passive", "on"],
    ["active", "off"],
  ] as const) {
    test(`serves lftp in ${mode} mode`, { skip: !existsSync("/usr/bin/lftp") && "needs lftp" }, async () => {
      await using ftp = await startFtp();
      const here = path.join(ftp.folder, "here.bin");
      const script = `set ftp:passive-mode ${passive}; set net:timeout 5; set net:max-retries 1; open ${ftp.url}; ls;
        get big.bin -o ${here}; cd pub; put ${here} -o up.bin; ls; bye`;
      const { stdout } = await run("lftp", ["-c", script], way);
      assert.match(stdout.toString(), /big\.bin[\s\S]*up\.bin/);
      assert.ok((await readFile(here)).equals(big));
      assert.ok((await readFile(path.join(ftp.folder, "root/pub/up.bin"))).equals(big));
    });
  }

  test("serves Python's ftplib in both modes, IPv6 too", async (context) => {
    if (!existsSync("/usr/bin/python3")) return context.skip("needs python3");
    await using ftp = await startFtp();
    const script = `
import ftplib, io, sys
for host in ("127.0.0.1", "::1"):
    for passive in (True, False):
        ftp = ftplib.FTP()
        ftp.connect(host, ${ftp.port}, timeout=10)
        ftp.login()
        ftp.set_pasv(passive)
        data = io.BytesIO()
        ftp.retrbinary("RETR big.bin", data.write)
        name = f"pub/{'v6' if ':' in host else 'v4'}-{passive}.bin"
        data.seek(0)
        ftp.storbinary("STOR " + name, data)
        print(ftp.nlst("pub"), len(data.getvalue()), ftp.quit())
`;
    const { stdout } = await run("/usr/bin/python3", ["-c", script], { timeout: 30_000 });
    assert.equal(stdout.match(/3000000 221/g)?.length, 4, stdout);
  });
});
