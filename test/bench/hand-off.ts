/**
 * Connect to first byte of a program that is started for each client, /bin/cat: what xinetd, systemd-socket-activate and
 * wakeport need, with one client at a time and with eight, in turns within one run.
 *
 *     node test/bench/hand-off.ts [connections a round] [rounds]
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../support/free-port.ts";
import { exitOnSignals, Program } from "./program.ts";
import { quantile } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const CONNECTIONS = Number(process.argv[2] ?? 400);
const ROUNDS = Number(process.argv[3] ?? 5);
const WARM_UP = 50;
const PATIENCE_MS = 10_000;

interface Contestant {
  readonly name: string;
  readonly port: number;
  /** Milliseconds, by the number of clients at a time. */
  readonly times: Map<number, number[]>;
  readonly perSecond: Map<number, number[]>;
}

/** Sends one byte and waits for its echo. @returns milliseconds */
function echoed(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("no reply")));
    socket.once("error", reject);
    socket.once("data", () => {
      resolve(performance.now() - began);
      socket.end();
    });
    socket.write("x");
  });
}

async function measure({ port, times, perSecond }: Contestant, clients: number, connections: number): Promise<void> {
  let left = connections;
  const found: number[] = [];
  const client = async (): Promise<void> => {
    while (left-- > 0) found.push(await echoed(port));
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const rate = connections / ((performance.now() - began) / 1000);
  times.set(clients, [...(times.get(clients) ?? []), ...found]);
  perSecond.set(clients, [...(perSecond.get(clients) ?? []), rate]);
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    try {
      await echoed(port);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  throw new Error(`no listener on port ${port}`);
}

function contestant(name: string, port: number): Contestant {
  return { name, port, times: new Map(), perSecond: new Map() };
}

exitOnSignals();
await using stack = new AsyncDisposableStack();
const folder = await mkdtemp(path.join(tmpdir(), "wakeport-bench-"));
stack.defer(() => rm(folder, { recursive: true }));

const [xinetd, systemd, log, socket, shim] = [
  await freePort(),
  await freePort(),
  await freePort(),
  await freePort(),
  await freePort(),
];
const config = path.join(folder, "xinetd.conf");
await writeFile(
  config,
  `defaults
{
  cps = 100000 1
  instances = UNLIMITED
}
service cat
{
  type = UNLISTED
  port = ${xinetd}
  bind = 127.0.0.1
  socket_type = stream
  protocol = tcp
  wait = no
  user = root
  server = /bin/cat
}
`,
);
for (const command of [
  ["/usr/sbin/xinetd", "-dontfork", "-f", config, "-pidfile", `${folder}/pid`, "-filelog", `${folder}/log`],
  ["/usr/bin/systemd-socket-activate", "--inetd", "--accept", "-l", `127.0.0.1:${systemd}`, "/bin/cat"],
]) {
  const program = await Program.start(command);
  stack.defer(() => program.stop());
}
stack.use(
  await Wakeport.start(`  log: { ports: ["127.0.0.1:${log}"], inetd: { command: [/bin/cat] } }
  socket: { ports: ["127.0.0.1:${socket}"], inetd: { command: [/bin/cat], stderr: socket } }
  shim: { ports: ["127.0.0.1:${shim}"], inetd: { command: [/bin/cat], stderr: socket, umask: "027", rlimits: { nofile: 64 } } }`),
);
const contestants = [
  contestant("xinetd", xinetd),
  contestant("systemd-socket-activate", systemd),
  contestant("wakeport", log),
  contestant("wakeport, stderr: socket", socket),
  contestant("wakeport, umask and rlimits", shim),
];
for (const { port } of contestants) {
  await listening(port);
  for (let warm = 0; warm < WARM_UP; warm += 1) await echoed(port);
}
for (let round = 0; round < ROUNDS; round += 1) {
  for (const clients of [1, 8]) for (const one of contestants) await measure(one, clients, CONNECTIONS);
}
for (const clients of [1, 8]) {
  console.log(`${clients === 1 ? "one client" : `${clients} clients`}, connect to first byte, ms:`);
  for (const { name, times, perSecond } of contestants) {
    const found = times.get(clients) ?? [];
    const [median, p99] = [quantile(found, 0.5), quantile(found, 0.99)].map((ms) => ms.toFixed(2));
    const rate = quantile(perSecond.get(clients) ?? [], 0.5).toFixed(0);
    console.log(`  ${name.padEnd(28)} median ${median}  p99 ${p99}  ${rate} a second`);
  }
}
