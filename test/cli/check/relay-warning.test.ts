import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { relayWarning } from "../../../src/cli/check/relay-warning.ts";

const service = (relay: "auto" | "splice" | "node", name = "web") => ({ name, enabled: true, relay });

suite("relayWarning()", () => {
  test("names the reason for the relay by Node", () => {
    assert.equal(
      relayWarning([service("auto")], () => "the platform is darwin, not linux"),
      "connections are relayed by Node's streams, which take more CPU: the platform is darwin, not linux",
    );
  });

  test("names the services that require the data plane", () => {
    assert.equal(
      relayWarning([service("auto"), service("splice", "db")], () => "koffi cannot be loaded"),
      'connections are relayed by Node\'s streams, which take more CPU: koffi cannot be loaded (although "relay" is "splice" for "db")',
    );
  });

  test("tests nothing if no service would use the data plane", () => {
    const services = [service("node"), { ...service("splice"), enabled: false }];
    assert.equal(
      relayWarning(services, () => assert.fail()),
      undefined,
    );
  });

  test("is absent on a machine where the data plane works", () => {
    assert.equal(relayWarning([service("splice")]), undefined);
  });
});
