/** Real servers of this machine, prepared as targets: folders, keys, databases and commands. */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
/** Debian's Python, which has the modules of Debian's packages. */
export const PYTHON = "/usr/bin/python3";

export interface Server {
  readonly command: readonly string[];
  /** Further keys of its service. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** The command of each server, for a port of this machine. */
export type ServerName = "smtp" | "ssh" | "mysql" | "redis" | "postgres";

/** Returns undefined if all servers and clients of these tests are installed, otherwise the reason. */
export function cannotServe(): string | undefined {
  if (process.getuid?.() !== 0) return "another user than root cannot start servers";
  const programs = [
    "/usr/sbin/sshd",
    "/usr/sbin/mariadbd",
    "/usr/bin/mariadb",
    "/usr/bin/redis-server",
    "/usr/bin/swaks",
  ];
  const missing = [...programs, "/usr/lib/python3/dist-packages/aiosmtpd"].find((file) => !existsSync(file));
  if (missing !== undefined) return `there is no ${missing}: run test/engine/tools`;
  return postgresPrograms() === undefined ? "there is no PostgreSQL: run test/engine/tools" : undefined;
}

export class Servers implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Servers> {
    const servers = new Servers(await mkdtemp(path.join(tmpdir(), "wakeport-test-")));
    await chmod(servers.folder, 0o711);
    await Promise.all([servers.#makeKeys(), servers.#makeMysql(), servers.#makePostgres()]);
    return servers;
  }

  /** The key of a client that may log in. */
  get key(): string {
    return path.join(this.folder, "client");
  }

  of(name: ServerName, port: number): Server {
    const { folder } = this;
    switch (name) {
      case "smtp":
        return {
          command: [
            PYTHON,
            "-m",
            "aiosmtpd",
            "-n",
            "-l",
            `127.0.0.1:${port}`,
            "-c",
            "aiosmtpd.handlers.Debugging",
            "stdout",
          ],
        };
      case "ssh": {
        const config = [
          "ListenAddress=127.0.0.1",
          `Port=${port}`,
          `HostKey=${folder}/host`,
          "PidFile=none",
          "UsePAM=no",
        ];
        const access = [`AuthorizedKeysFile=${folder}/client.pub`, "StrictModes=no", "PermitRootLogin=yes"];
        return {
          command: [
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
            "/dev/null",
            ...[...config, ...access].flatMap((option) => ["-o", option]),
          ],
        };
      }
      case "mysql":
        return {
          command: [
            "/usr/sbin/mariadbd",
            "--no-defaults",
            "--user=root",
            `--datadir=${folder}/mysql`,
            "--bind-address=127.0.0.1",
            `--port=${port}`,
            `--socket=${folder}/mysql.sock`,
          ],
        };
      case "redis":
        return {
          command: [
            "/usr/bin/redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            String(port),
            "--save",
            "",
            "--dir",
            folder,
          ],
        };
      case "postgres": {
        const tls = ["ssl=on", `ssl_cert_file=${folder}/postgres.crt`, `ssl_key_file=${folder}/postgres.key`];
        const options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", ...tls].flatMap((option) => [
          "-c",
          option,
        ]);
        const command = [`${postgresPrograms()}/postgres`, "-D", `${folder}/postgres`, "-p", String(port), ...options];
        return { command, settings: { user: "postgres" } };
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
  }

  async #makeKeys(): Promise<void> {
    // The folder of its chroot.
    await mkdir("/run/sshd", { recursive: true });
    for (const name of ["host", "client"])
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path.join(this.folder, name)]);
  }

  async #makeMysql(): Promise<void> {
    const options = ["--no-defaults", `--datadir=${this.folder}/mysql`, "--user=root", "--skip-test-db"];
    await run("mariadb-install-db", [...options, "--auth-root-authentication-method=normal"]);
  }

  async #makePostgres(): Promise<void> {
    const [uid, gid] = ["-u", "-g"].map((what) => Number(execFileSync("id", [what, "postgres"])));
    const data = path.join(this.folder, "postgres");
    await mkdir(data);
    await run("chown", ["postgres:", data]);
    const account = { ...(uid && { uid }), ...(gid && { gid }), cwd: "/" };
    await run(`${postgresPrograms()}/initdb`, ["-D", data, "--auth=trust", "--no-sync"], account);
    const [key, certificate] = [`${data}.key`, `${data}.crt`];
    const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"];
    await run("openssl", [...request, "-keyout", key, "-out", certificate]);
    await run("chown", ["postgres:", key]);
  }
}

function postgresPrograms(): string | undefined {
  return globSync("/usr/lib/postgresql/*/bin/postgres").map(path.dirname).toSorted().at(-1);
}
