import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { relayWarning } from "../../../src/cli/check/relay-warning.ts";
import type { Service } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";

/** Returns the services of a file. */
function servicesOf(...lines: readonly string[]): readonly Service[] {
  const text = Buffer.from(["services:", ...lines].map((line) => `${line}\n`).join(""));
  return parseConfig(text, "wakeport.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } }).services;
}

const web = '  web: { ports: ["80"], container: web }';
const db = '  db: { ports: ["5432"], container: db, relay: splice }';

suite("relayWarning()", () => {
  test("names the reason for the relay by Node", () => {
    assert.equal(
      relayWarning(servicesOf(web), () => "the platform is darwin, not linux"),
      "connections are relayed by Node's streams, which take more CPU: the platform is darwin, not linux",
    );
  });

  test("names the services that require the data plane", () => {
    assert.equal(
      relayWarning(servicesOf(web, db), () => "koffi cannot be loaded"),
      'connections are relayed by Node\'s streams, which take more CPU: koffi cannot be loaded (although "relay" is "splice" for "db")',
    );
  });

  for (const [what, line] of [
    ["is relayed by Node", '  web: { ports: ["80"], container: web, relay: node }'],
    ["is disabled", '  web: { ports: ["80"], container: web, enabled: false }'],
    ["has only UDP ports", '  dns: { ports: ["53/udp"], container: dns }'],
    ["has no target", '  echo: { ports: ["7"], builtin: echo }'],
    ["starts a program for each client", '  cat: { ports: ["7"], inetd: { command: [cat] } }'],
  ] as const) {
    test(`is absent for a service that ${what}`, () => {
      assert.equal(
        relayWarning(servicesOf(line), () => assert.fail()),
        undefined,
      );
    });
  }

  test("is absent on a machine where the data plane works", () => {
    assert.equal(relayWarning(servicesOf(db)), undefined);
  });
});
