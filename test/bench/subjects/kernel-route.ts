/**
 * The kernel route, between network namespaces that are joined by one bridge, like containers: the client, the relays'
 * namespace, and the servers' namespace.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../support/eventually.ts";
import { launcherOf, own } from "../checkouts.ts";
import { cpuSecondsOfTree } from "../cpu.ts";
import { temporaryFolder } from "../folder.ts";
import { connects, echoServer, flood, missingCompiler, sinkServer } from "../load.ts";
import { Program } from "../program.ts";
import { locate, missingOf } from "../programs.ts";
import type { Contestant, Field, Metric, Sample, Subject } from "../subject.ts";

const STREAMS = [1, 8];
const FLOOD_SECONDS = 1.5;
const CONNECT_SECONDS = 0.7;
const GB = 1e9;

const CLIENT = "10.249.0.1";
const RELAYS = "10.249.0.2";
const SERVERS = "10.249.0.3";
/** The ports of the servers, what the relays add to them, and the port of wakeport's status. */
const [ECHO, SINK] = [9001, 9002];
const [WAKEPORT, HAPROXY] = [1_000, 2_000];
const ADMIN = 9464;

const needs = [
  { file: "nft", comesFrom: "Debian package nftables" },
  { file: "conntrack", comesFrom: "Debian package conntrack" },
  { file: "haproxy", comesFrom: "Debian package haproxy" },
  { file: "ip", comesFrom: "Debian package iproute2" },
];

export const kernelRoute: Subject = {
  name: "kernel-route",
  title: "Kernel route, between namespaces on one bridge",
  metrics: [
    ...STREAMS.flatMap((streams): Metric[] => [
      { name: `rate${streams}`, title: `${streams === 1 ? "1 stream" : `${streams} streams`}, GB/s`, digits: 2 },
      { name: `cpu${streams}`, title: "CPU s/GB of the program", digits: 3 },
    ]),
    { name: "p50Us", title: "connect, echo, close: p50 µs", digits: 0 },
    { name: "addedUs", title: "p50 above direct, µs", digits: 0 },
    { name: "connections", title: "connections/s", digits: 0 },
  ],
  references: ["direct", "haproxy"],
  isIsolated: true,
  derive: (sample, direct) => ({ addedUs: (sample["p50Us"] ?? 0) - (direct["p50Us"] ?? 0) }),
  async open(owned): Promise<Field> {
    const missing = missingOf(needs) ?? missingCompiler();
    if (missing !== undefined) return { contestants: [], missing: [`all: ${missing}`] };
    const spaces = joined(owned);
    const wakeport = await startWakeport(spaces, owned);
    const haproxy = await startHaproxy(spaces, owned);
    return {
      contestants: [
        contestant("direct", SERVERS, 0),
        contestant("wakeport-kernel", RELAYS, WAKEPORT, wakeport),
        contestant("haproxy", RELAYS, HAPROXY, haproxy),
      ],
      missing: [],
    };
  },
};

interface Spaces {
  readonly relays: string;
  readonly servers: string;
}

/** Joins this process's namespace, the relays' and the servers' by a bridge in a fourth one. */
function joined(owned: AsyncDisposableStack): Spaces {
  const ip = (...args: string[]): Buffer => execFileSync("ip", args);
  const [bridge, relays, servers] = ["b", "r", "s"].map((kind) => `wpb${process.pid}${kind}`) as [
    string,
    string,
    string,
  ];
  for (const name of [bridge, relays, servers]) {
    ip("netns", "add", name);
    // Also when this process ends by an error or a signal.
    const remove = (): void => void ip("netns", "del", name);
    process.once("exit", remove);
    owned.defer(() => {
      process.off("exit", remove);
      remove();
    });
  }
  ip("-n", bridge, "link", "add", "br0", "type", "bridge");
  ip("-n", bridge, "link", "set", "br0", "up");
  for (const [index, [space, address]] of [
    [undefined, CLIENT],
    [relays, RELAYS],
    [servers, SERVERS],
  ].entries()) {
    const at = space === undefined ? [] : ["-n", space];
    const port = `port${index}`;
    ip(...at, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", bridge);
    ip(...at, "address", "add", `${address}/24`, "dev", "eth0");
    ip(...at, "link", "set", "eth0", "up");
    ip("-n", bridge, "link", "set", port, "master", "br0", "up");
  }
  const inside = (space: string, ...settings: string[]): Buffer =>
    execFileSync("ip", ["netns", "exec", space, "sysctl", "-qw", ...settings]);
  inside(relays, "net.ipv4.ip_forward=1", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1");
  // All clients have one address, which has few ports.
  const manyPorts = ["net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1"];
  inside(relays, ...manyPorts);
  execFileSync("sysctl", ["-qw", ...manyPorts]);
  return { relays, servers };
}

/** wakeport starts the servers. */
async function startWakeport({ relays, servers }: Spaces, owned: AsyncDisposableStack): Promise<number> {
  const file = join(temporaryFolder(owned), "wakeport.yaml");
  const service = (name: string, port: number, command: readonly string[]): string => {
    const inside = JSON.stringify(["ip", "netns", "exec", servers, ...command]);
    const target = `{ command: ${inside}, listen: "${SERVERS}:${port}" }`;
    return `  ${name}: { ports: ["${port + WAKEPORT}:${port}"], process: ${target}, relay: kernel, idle_timeout: 10m }\n`;
  };
  const services = [service("echo", ECHO, echoServer(ECHO, SERVERS)), service("sink", SINK, sinkServer(SINK, SERVERS))];
  writeFileSync(file, `admin: { listen: "${RELAYS}:${ADMIN}" }\nservices:\n${services.join("")}`);
  const program = await Program.start(["ip", "netns", "exec", relays, launcherOf(own), "run", "-c", file]);
  owned.defer(() => program.stop());
  const routes = async (): Promise<boolean[]> => {
    const answer = await fetch(`http://${RELAYS}:${ADMIN}/api/v1/services`);
    const { services } = (await answer.json()) as { services: { kernel_route: { open: boolean } }[] };
    return services.map(({ kernel_route: { open } }) => open);
  };
  await eventually("wakeport listens", async () => {
    program.ended.throwIfAborted();
    return routes().then(
      () => true,
      () => false,
    );
  });
  await connects(ECHO + WAKEPORT, 1, 0, RELAYS);
  await flood(SINK + WAKEPORT, 1, 0, RELAYS);
  await eventually("the routes are open", async () => (await routes()).every(Boolean));
  return program.pid;
}

async function startHaproxy({ relays }: Spaces, owned: AsyncDisposableStack): Promise<number> {
  const file = join(temporaryFolder(owned), "haproxy.cfg");
  const listen = [ECHO, SINK].map(
    (port) => `listen l${port}\n  bind ${RELAYS}:${port + HAPROXY}\n  server s ${SERVERS}:${port}\n`,
  );
  const timeouts = "  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n";
  writeFileSync(file, `defaults\n  mode tcp\n  option splice-auto\n${timeouts}${listen.join("")}`);
  const program = await Program.start(["ip", "netns", "exec", relays, locate("haproxy"), "-db", "-f", file]);
  owned.defer(() => program.stop());
  await eventually("haproxy listens", () =>
    connects(ECHO + HAPROXY, 1, 0, RELAYS).then(
      () => true,
      () => false,
    ),
  );
  return program.pid;
}

/** @param pid of the relay, for its CPU time */
function contestant(name: string, host: string, offset: number, pid?: number): Contestant {
  const cpuSeconds = (): number => (pid === undefined ? 0 : cpuSecondsOfTree(pid, sinkServer(0)[0] ?? ""));
  return {
    name,
    async measure(): Promise<Sample> {
      const sample: Record<string, number> = {};
      for (const streams of STREAMS) {
        const before = cpuSeconds();
        const { bytes, seconds } = await flood(SINK + offset, streams, FLOOD_SECONDS, host);
        sample[`rate${streams}`] = bytes / GB / seconds;
        if (pid !== undefined) sample[`cpu${streams}`] = ((cpuSeconds() - before) / bytes) * GB;
      }
      const { p50Us, connections, seconds } = await connects(ECHO + offset, 1, CONNECT_SECONDS, host);
      return { ...sample, p50Us, connections: connections / seconds };
    },
  };
}
