/** One xinetd.conf, served by xinetd and imported into wakeport: clients get the same replies from both. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { withoutXinetd, Xinetd } from "../support/program/xinetd.ts";

const run = promisify(execFile);
const isThere = (program: string): boolean =>
  spawnSync(program, ["-v"], { stdio: "ignore", timeout: 5_000 }).error === undefined;
const isMissing = !["/usr/sbin/vsftpd", "curl"].every(isThere) && "vsftpd or curl is not installed";
const skip =
  withoutXinetd() || isMissing || (process.getuid?.() !== 0 && "another user than root cannot start servers");

const names = ["echo", "discard", "daytime", "time", "ftp", "id", "refused"] as const;
type Ports = Readonly<Record<(typeof names)[number], number>>;

/** The same for both programs, except the ports. */
function xinetdConf(ports: Ports, vsftpdConf: string, banner: string): string {
  const builtin = (name: keyof Ports): string =>
    `service ${name}\n{\n\ttype = INTERNAL UNLISTED\n\tport = ${ports[name]}\n\tprotocol = tcp\n\tsocket_type = stream\n\twait = no\n}\n`;
  const server = (name: keyof Ports, ...lines: string[]): string =>
    `service ${name}\n{\n\ttype = UNLISTED\n\tport = ${ports[name]}\n\tprotocol = tcp\n\tsocket_type = stream\n\twait = no\n\t${lines.join("\n\t")}\n}\n`;
  return [
    "defaults\n{\n\tlog_type = FILE @LOG@\n\tlog_on_success = PID HOST EXIT DURATION\n\tlog_on_failure = HOST\n}\n",
    ...(["echo", "discard", "daytime", "time"] as const).map(builtin),
    server("ftp", "user = root", "server = /usr/sbin/vsftpd", `server_args = ${vsftpdConf}`),
    server(
      "id",
      "user = nobody",
      "group = 4711",
      "umask = 027",
      "server = /bin/sh",
      "flags = NAMEINARGS",
      "server_args = shell -c id;umask;echo$IFS$0>&2",
    ),
    server("refused", "user = nobody", "server = /bin/false", "no_access = 127.0.0.1", `banner_fail = ${banner}`),
  ].join("");
}

/** Sends `text` and FIN. @returns the received text */
async function answer(port: number, text = ""): Promise<Buffer> {
  const socket = net.connect({ port, host: "127.0.0.1", timeout: 10_000 });
  await once(socket, "connect");
  socket.end(text);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function curl(...args: string[]): Promise<string> {
  return run("curl", ["-sS", "-m", "20", ...args]).then(({ stdout }) => stdout);
}

/** Connects to every service. @returns all that the clients received */
async function visitAll(ports: Ports): Promise<Record<string, unknown>> {
  const daytime = (await answer(ports.daytime)).toString();
  const time = (await answer(ports.time)).readUInt32BE(0) - 2_208_988_800;
  const ftp = `ftp://127.0.0.1:${ports.ftp}`;
  return {
    echo: (await answer(ports.echo, "hello\r\n")).toString(),
    discard: (await answer(ports.discard, "hello\r\n")).toString(),
    daytime: daytime.replace(/\d/g, "0").replace(/ [A-Z]{3} /, " MON "),
    isNow: Math.abs(time - Date.now() / 1000) < 5,
    id: (await answer(ports.id)).toString(),
    refused: (await answer(ports.refused)).toString(),
    list: await curl("--list-only", `${ftp}/`),
    file: await curl(`${ftp}/welcome.txt`),
    active: await curl("--ftp-port", "-", `${ftp}/welcome.txt`),
    pasv: await curl("--disable-epsv", `${ftp}/welcome.txt`),
  };
}

async function freePorts(): Promise<Ports> {
  const all = await Promise.all(names.map(async (name) => [name, await freePort()] as const));
  return Object.fromEntries(all) as Ports;
}

suite("a xinetd.conf", { skip }, () => {
  test("is served by xinetd, and imported by wakeport, with the same results", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-from-xinetd-"));
    try {
      const [files, empty] = [path.join(folder, "files"), path.join(folder, "empty")];
      await Promise.all([mkdir(files), mkdir(empty)]);
      await writeFile(path.join(files, "welcome.txt"), "come in\n");
      const banner = path.join(folder, "banner");
      await writeFile(banner, "421 not today\r\n");
      const vsftpdConf = path.join(folder, "vsftpd.conf");
      const lines = [
        "listen=NO",
        "anonymous_enable=YES",
        "local_enable=NO",
        `anon_root=${files}`,
        `secure_chroot_dir=${empty}`,
      ];
      await writeFile(vsftpdConf, [...lines, "no_anon_password=YES", "port_enable=YES", ""].join("\n"));
      await run("chmod", ["755", folder]);

      const theirs = await freePorts();
      await using xinetd = await Xinetd.start(xinetdConf(theirs, vsftpdConf, banner));

      const ours = await freePorts();
      const conf = path.join(folder, "xinetd.conf");
      await writeFile(conf, xinetdConf(ours, vsftpdConf, banner));
      const imported = await wakeport(["import", "xinetd", conf]);
      assert.equal(imported.code, 0, imported.stderr);
      const file = path.join(folder, "wakeport.yaml");
      await writeFile(file, `${imported.stdout}admin: { listen: 127.0.0.1:${await freePort()} }\n`);
      const checked = await wakeport(["check", "-c", file]);
      assert.equal(checked.code, 0, checked.stderr);
      await using program = new Program(["run", "-c", file]);
      await eventually("wakeport listens", () => program.stdout.includes("serves"));

      assert.deepEqual(await visitAll(ours), await visitAll(theirs));
      assert.equal(program.child.exitCode, null);
      await eventually("both logs have the same number of lines", async () => {
        const [mine, its] = [program.stdout, await xinetd.read()].map(eventLines);
        return mine?.length === its?.length;
      });
      assert.deepEqual(eventLines(program.stdout), eventLines(await xinetd.read()));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/**
 * The log lines about clients without process ids, times and order. xinetd checks the address in the server's process,
 * so that a rejected client has a START and an EXIT too.
 */
function eventLines(log: string): string[] {
  const lines = log
    .split("\n")
    .filter((line) => /: (START|EXIT|FAIL|TRAFFIC|USERID): (?!refused (pid|status))/.test(line));
  return lines
    .map((line) =>
      line
        .replace(/^[\d/@:]+: /, "")
        .replace(/pid=\d+/, "pid=N")
        .replace(/\d+\(sec\)/, "N(sec)"),
    )
    .map((line) => line.replace("::ffff:", "").replace(/ftp status=[02]/, "ftp status=N"))
    .toSorted();
}
