/** A program that is started for each client and gets its socket, /bin/cat: connect to echo, as inetd does it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../support/free-port.ts";
import { type Checkout, checkouts } from "../checkouts.ts";
import { cpuSecondsOfTree } from "../cpu.ts";
import { temporaryFolder } from "../folder.ts";
import { connects, missingCompiler } from "../load.ts";
import { dialWhenOpen } from "../ports.ts";
import { Program } from "../program.ts";
import { locate, missingOf, type Requirement } from "../programs.ts";
import type { Contestant, Field, Metric, Sample, Subject } from "../subject.ts";
import { Wakeport } from "../wakeport.ts";

const CLIENTS = [1, 8];
const SECONDS = 1;
const START_MS = 10_000;
const PROGRAM = "/bin/cat";

interface Server {
  readonly name: string;
  readonly needs: readonly Requirement[];
  /** The command that listens on a port of 127.0.0.1. */
  command(port: number, folder: string): Promise<readonly string[]>;
}

/** @param user an account of Debian */
const xinetdAs = (name: string, user: string): Server => ({
  name,
  needs: [{ file: "xinetd", comesFrom: "Debian package xinetd" }],
  async command(port, folder) {
    const file = join(folder, "xinetd.conf");
    const limits = "defaults\n{\n  cps = 100000 1\n  instances = UNLIMITED\n}\n";
    const service = `  type = UNLISTED\n  port = ${port}\n  bind = 127.0.0.1\n  socket_type = stream\n  protocol = tcp\n`;
    await writeFile(
      file,
      `${limits}service cat\n{\n${service}  wait = no\n  user = ${user}\n  server = ${PROGRAM}\n}\n`,
    );
    return [locate("xinetd"), "-dontfork", "-f", file, "-pidfile", `${folder}/pid`, "-filelog", `${folder}/log`];
  },
});

const socketActivate: Server = {
  name: "systemd-socket-activate",
  needs: [{ file: "systemd-socket-activate", comesFrom: "Debian package systemd" }],
  command: (port) =>
    Promise.resolve([locate("systemd-socket-activate"), "--inetd", "--accept", "-l", `127.0.0.1:${port}`, PROGRAM]),
};

/** Rows of wakeport, by the keys of their service. */
const services: ReadonlyMap<string, string> = new Map([
  ["", `command: [${PROGRAM}]`],
  [", stderr: socket", `command: [${PROGRAM}], stderr: socket`],
  [", user", `command: [${PROGRAM}], stderr: socket, user: nobody`],
  [", umask and rlimits", `command: [${PROGRAM}], umask: "027", rlimits: { nofile: 64 }`],
]);

export const handOff: Subject = {
  name: "hand-off",
  title: `Connect to echo of ${PROGRAM}, which is started for each client`,
  metrics: CLIENTS.flatMap((clients): Metric[] => [
    { name: `p50Us${clients}`, title: `${clients === 1 ? "1 client" : `${clients} clients`}, p50 µs`, digits: 0 },
    { name: `p99Us${clients}`, title: "p99 µs", digits: 0 },
    { name: `rate${clients}`, title: "connections/s", digits: 0 },
    { name: `cpuUs${clients}`, title: "CPU µs each", digits: 0 },
  ]),
  references: ["xinetd"],
  isIsolated: true,
  async open(owned): Promise<Field> {
    const compiler = missingCompiler();
    if (compiler !== undefined) return { contestants: [], missing: [`all: no ${compiler}`] };
    const contestants: Contestant[] = [];
    const missing: string[] = [];
    for (const server of [xinetdAs("xinetd", "root"), xinetdAs("xinetd, user", "nobody"), socketActivate]) {
      const lacks = missingOf(server.needs);
      if (lacks === null) contestants.push(await openServer(server, owned));
      else missing.push(`${server.name} (${lacks})`);
    }
    for (const checkout of checkouts) contestants.push(...(await openWakeport(checkout, owned)));
    return { contestants, missing };
  },
};

async function openServer({ name, command }: Server, owned: AsyncDisposableStack): Promise<Contestant> {
  const port = await freePort();
  const program = await Program.start(await command(port, temporaryFolder(owned)));
  owned.defer(() => program.stop());
  (await dialWhenOpen(port, AbortSignal.any([program.ended, AbortSignal.timeout(START_MS)]))).destroy();
  return { name, measure: () => measure(port, program.pid) };
}

/** One process with all services. */
async function openWakeport(checkout: Checkout, owned: AsyncDisposableStack): Promise<Contestant[]> {
  const ports = new Map<string, number>();
  let yaml = "";
  for (const [suffix, keys] of services) {
    const port = await freePort();
    ports.set(`${checkout.name}${suffix}`, port);
    yaml += `  cat-${port}: { ports: ["127.0.0.1:${port}"], inetd: { ${keys} } }\n`;
  }
  const { pid } = owned.use(await Wakeport.start(yaml, { checkout }));
  return [...ports].map(([name, port]) => ({ name, measure: () => measure(port, pid) }));
}

/** The CPU time includes that of the started programs, which is the same for all. */
async function measure(port: number, pid: number): Promise<Sample> {
  const sample: Record<string, number> = {};
  for (const clients of CLIENTS) {
    const before = cpuSecondsOfTree(pid, "");
    const { connections, seconds, p50Us, p99Us } = await connects(port, clients, SECONDS);
    sample[`p50Us${clients}`] = p50Us;
    sample[`p99Us${clients}`] = p99Us;
    sample[`rate${clients}`] = connections / seconds;
    sample[`cpuUs${clients}`] = ((cpuSecondsOfTree(pid, "") - before) / connections) * 1e6;
  }
  return sample;
}
