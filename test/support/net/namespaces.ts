/** Two network namespaces in a row behind the machine's own: client – sidecar – target, joined by veth pairs. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);
const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";
const tools = ["/usr/sbin/ip", "/usr/sbin/nft", "/usr/sbin/conntrack", "/usr/bin/setpriv"];

/** Why there are no namespaces; false if there are, or if they are required. */
export function cannotForward(): string | false {
  if (isRequired || (process.getuid?.() === 0 && tools.every(existsSync))) return false;
  return "NO NAMESPACES: needs root, and nftables, conntrack, iproute2 and setpriv (test/engine/tools)";
}

/** The number of a pair in this process, so that files and tests can run at the same time. */
let made = 0;

export interface Namespaces extends AsyncDisposable {
  /** The names for `ip netns exec`. */
  readonly sidecar: string;
  readonly target: string;
  /** The addresses of the sidecar that the test process can connect to. */
  readonly front: { readonly ipv4: string; readonly ipv6: string };
  /** Addresses of the test process in the network of `front`. */
  readonly sources: { readonly ipv4: readonly [string, string]; readonly ipv6: readonly [string, string] };
  /** The addresses of the target that the sidecar can connect to. */
  readonly back: { readonly ipv4: string; readonly ipv6: string };
  /** Runs a program in the sidecar's namespace. @returns its standard output */
  inside(command: string, ...args: string[]): Promise<string>;
}

/** @param sysctls settings of the sidecar's namespace */
export async function namespaces(sysctls: Readonly<Record<string, number>> = {}): Promise<Namespaces> {
  made += 1;
  const id = `${process.pid}x${made}`;
  const [sidecar, target] = [`wpk${id}s`, `wpk${id}t`];
  // 10.192.0.0/10 and fd77::/16 belong to the tests.
  const number = (process.pid * 8 + made) % 0x3fff;
  const subnet = `10.${192 + (number >> 8)}.${number & 255}`;
  const prefix = `fd77:${number.toString(16)}`;
  const [front, back] = [
    { ipv4: `${subnet}.2`, ipv6: `${prefix}:1::2` },
    { ipv4: `${subnet}.130`, ipv6: `${prefix}:2::2` },
  ];
  await using stack = new AsyncDisposableStack();
  for (const name of [sidecar, target]) {
    await run("ip", ["netns", "add", name]);
    stack.defer(async () => {
      await run("ip", ["netns", "del", name]);
    });
  }
  const ip = (...args: string[]) => run("ip", args);
  const outer = `wf${id}`.slice(0, 15);
  await ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", sidecar);
  await ip("link", "add", "eth1", "netns", sidecar, "type", "veth", "peer", "name", "eth0", "netns", target);
  const up = async (namespace: string | undefined, link: string, ipv4: string, ipv6: string): Promise<void> => {
    const at = namespace === undefined ? [] : ["-n", namespace];
    await ip(...at, "address", "add", `${ipv4}/25`, "dev", link);
    await ip(...at, "address", "add", `${ipv6}/64`, "dev", link, "nodad");
    await ip(...at, "link", "set", link, "up");
    if (namespace !== undefined) await ip(...at, "link", "set", "lo", "up");
  };
  const inside = async (command: string, ...args: string[]): Promise<string> => {
    return (await run("ip", ["netns", "exec", sidecar, command, ...args])).stdout;
  };
  await up(undefined, outer, `${subnet}.1`, `${prefix}:1::1`);
  await ip("address", "add", `${subnet}.3/25`, "dev", outer);
  await ip("address", "add", `${prefix}:1::3/64`, "dev", outer, "nodad");
  await up(sidecar, "eth0", front.ipv4, front.ipv6);
  await up(sidecar, "eth1", `${subnet}.129`, `${prefix}:2::1`);
  await up(target, "eth0", back.ipv4, back.ipv6);
  const forwarding = { "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 };
  for (const [name, value] of Object.entries({ ...forwarding, ...sysctls }))
    await inside("sysctl", "-qw", `${name}=${value}`);
  const owned = stack.move();
  const sources = { ipv4: [`${subnet}.1`, `${subnet}.3`], ipv6: [`${prefix}:1::1`, `${prefix}:1::3`] } as const;
  return { sidecar, target, front, sources, back, inside, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
