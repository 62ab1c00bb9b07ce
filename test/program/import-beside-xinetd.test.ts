/** Compares the importer with the real xinetd: the served services and the accepted clients. */
import assert from "node:assert/strict";
import net from "node:net";
import { suite, test } from "node:test";
import fc from "fast-check";
import { readAddress, splitAddress } from "../../src/import/xinetd-addresses.ts";
import { freePort } from "../support/free-port.ts";
import { importXinetd } from "../support/import/imported.ts";
import { withoutXinetd, Xinetd } from "../support/program/xinetd.ts";

const skip = withoutXinetd();

/** Valid and invalid values. */
const values: Readonly<Record<string, readonly string[]>> = {
  flags: ["", "REUSE", "IPv4", "IPv4 IPv6", "BAR", "NODELAY"],
  disable: ["no", "yes", "x", "no no"],
  wait: ["no", "yes", "maybe"],
  groups: ["yes", "no", "x"],
  umask: ["022", "0", "7777", "0777"],
  nice: ["5", "-5", "x", "5 6"],
  rlimit_as: ["8M", "UNLIMITED", "1G", "0"],
  rlimit_cpu: ["20", "2K"],
  rlimit_files: ["77", "x"],
  server_args: ["-u", ""],
  env: ["A=b", "A"],
  passenv: ["PATH", ""],
  redirect: ["127.0.0.1 80", "127.0.0.1"],
  instances: ["5", "UNLIMITED", "-1", "x", "5 # x"],
  per_source: ["5", "x"],
  cps: ["5 5", "0 5", "x 5", "5"],
  max_load: ["2.5", "0", "x"],
  access_times: ["8:00-9:00", "8:00-24:00", "22:00-6:00", "", "8:00-9:00 x", "08:00-08:00"],
  only_from: ["10.0.0.0", "", "1.2.{3,4}", "1.2.3.4,", "10.0.0.0/255.0.0.0", "1.2.3.{4", "1.2.{3,}"],
  deny_time: ["5", "FOREVER", "x"],
  log_type: ["SYSLOG daemon", "FOO", "SYSLOG", ""],
  log_on_success: ["PID", "FOO", "TRAFFIC", ""],
  log_on_failure: ["HOST", "TRAFFIC"],
  v6only: ["no", "x"],
  foo: ["bar"],
};

const attribute = fc
  .constantFrom(...Object.keys(values))
  .chain((name) => fc.constantFrom(...(values[name] ?? [])).map((value) => ({ name, value })));
const attributes = fc
  .uniqueArray(attribute, { minLength: 1, maxLength: 3, selector: ({ name }) => name })
  // wakeport does not support times for a server that accepts its clients itself, so the importer disables it.
  .filter((chosen) => !["wait", "access_times"].every((name) => chosen.some((one) => one.name === name)));

suite("the importer compared with xinetd", { skip }, () => {
  test("imports a service as enabled exactly if xinetd serves it", async () => {
    const port = await freePort();
    const needed = { type: "UNLISTED", socket_type: "stream", wait: "no", user: "root", server: "/usr/bin/env" };
    const all = { ...needed, protocol: "tcp", port: String(port) };
    await fc.assert(
      fc.asyncProperty(attributes, async (extra) => {
        // xinetd enables a service again if "disable = no" follows a mistake. The importer does not.
        const first = extra.toSorted((a, b) => Number(b.name === "disable") - Number(a.name === "disable"));
        const lines = { ...Object.fromEntries(first.map(({ name, value }) => [name, value])) };
        const entries = Object.entries({ ...lines, ...all, ...lines }).map(([name, value]) => `  ${name} = ${value}`);
        const text = `service x\n{\n${entries.join("\n")}\n}\n`;
        await using xinetd = await Xinetd.start(text);
        const { services, warnings } = importXinetd({ x: text });
        const enabled = Object.values(services).filter((service) => service["enabled"] !== false).length;
        assert.equal(enabled, xinetd.served, [text, xinetd.log, ...warnings].join("\n"));
      }),
      { numRuns: 200, interruptAfterTimeLimit: 60_000 },
    );
  });

  test("allows the clients that xinetd allows", async () => {
    const words = ["127.0.0.1", "127.0.0.0", "127", "127/8", "127.0.0.0/8", "127.0.0.0/255.0.0.0", "0.0.0.0"];
    words.push("{127,10}", "127.1.{2,3}", "127.1.2.{3,4}", "::1", "::1/128", "::/64", "::", "fd00::/8", "::/0");
    const ports = await Promise.all(words.map(() => freePort()));
    const services = words.map(
      (word, at) =>
        `service echo\n{\nid = e${at}\ntype = INTERNAL UNLISTED\nprotocol = tcp\nport = ${ports[at]}\n` +
        `socket_type = stream\nwait = no\nonly_from = ${word}\n}\n`,
    );
    await using _ = await Xinetd.start(services.join(""));
    for (const [at, word] of words.entries()) {
      const allowed = new net.BlockList();
      for (const network of splitAddress(word).flatMap((address) => readAddress(address) ?? [])) {
        const [address = "", length] = network.split("/");
        const family = net.isIPv6(address) ? "ipv6" : "ipv4";
        allowed.addSubnet(address, Number(length ?? (family === "ipv6" ? 128 : 32)), family);
      }
      for (const [source, to] of [
        ["127.0.0.1", "127.0.0.1"],
        ["127.1.2.3", "127.0.0.1"],
        ["127.1.3.9", "127.0.0.1"],
        ["::1", "::1"],
      ] as const) {
        const expected = allowed.check(source, net.isIPv6(source) ? "ipv6" : "ipv4");
        assert.equal(await isServed(source, to, ports[at] ?? 0), expected, `${source} and only_from = ${word}`);
      }
    }
  });
});

/** Returns whether the service echoes. */
async function isServed(localAddress: string, host: string, port: number): Promise<boolean> {
  const socket = net.connect({ host, port, localAddress, timeout: 5_000 });
  socket.on("connect", () => socket.write("x"));
  return new Promise((resolve, reject) => {
    socket.once("data", () => resolve(true)).once("end", () => resolve(false));
    socket.once("timeout", () => reject(new Error(`no reply on port ${port}`)));
    socket.once("error", (error) => ("code" in error && error.code === "ECONNRESET" ? resolve(false) : reject(error)));
  }).finally(() => socket.destroy()) as Promise<boolean>;
}
