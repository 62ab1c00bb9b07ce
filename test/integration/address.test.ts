/** Which of a container's addresses is dialled. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf } from "../../src/engine/address.ts";
import type { ContainerFacts, ContainerNetwork } from "../../src/engine/container-facts.ts";
import { TargetError } from "../../src/errors.ts";

const bridge: ContainerNetwork = { name: "bridge", id: "b", ipv4: "172.17.0.2" };
const front: ContainerNetwork = { name: "demo_front", id: "f", ipv4: "10.1.0.2" };
const back: ContainerNetwork = { name: "demo_back", id: "k", ipv4: "10.2.0.2", ipv6: "fd00::2" };

function container(name: string, networks: readonly ContainerNetwork[], networkMode = "default"): ContainerFacts {
  return {
    name,
    networks,
    networkMode,
    id: name,
    isRunning: true,
    isPaused: false,
    isRestarting: false,
    createdAt: "",
    startedAt: "",
    dependsOn: [],
    exitCode: 0,
    oomKilled: false,
    hasTty: false,
    restartPolicy: "no",
    project: "demo",
  };
}

/** The same network, from the other side. */
function legIn({ name, id }: ContainerNetwork): ContainerNetwork {
  return { name, id, ipv4: "10.9.9.9" };
}

function refusal(...args: Parameters<typeof addressOf>): string {
  try {
    addressOf(...args);
  } catch (error) {
    assert.ok(error instanceof TargetError);
    assert.equal(error.fault, "no_route");
    return `${error.message}: ${error.remedy}`;
  }
  throw new assert.AssertionError({ message: "it found an address" });
}

test("on the host, any of its networks will do", () => {
  assert.equal(addressOf(container("ftp", [front, back]), undefined, "auto"), "10.1.0.2");
});

test("in a container, only a network that both are in", () => {
  const own = container("wakeport", [legIn(bridge), legIn(back)]);
  assert.equal(addressOf(container("ftp", [front, back]), own, "auto"), "10.2.0.2");
});

test("networks are told by their id: another one of the same name is not shared", () => {
  const own = container("wakeport", [{ ...legIn(front), id: "other" }]);
  assert.match(refusal(container("ftp", [front]), own, "auto"), /shares no network/);
});

test("a named network, with or without the compose project before it", () => {
  const ftp = container("ftp", [front, back]);
  assert.equal(addressOf(ftp, undefined, "demo_back"), "10.2.0.2");
  assert.equal(addressOf(ftp, undefined, "back"), "10.2.0.2");
});

test("IPv6 where there is no IPv4", () => {
  assert.equal(addressOf(container("ftp", [{ name: "six", id: "6", ipv6: "fd00::6" }]), undefined, "auto"), "fd00::6");
});

test("the host's own network", () => {
  assert.equal(addressOf(container("ftp", [], "host"), undefined, "auto"), "127.0.0.1");
});

test("no shared network: both sides and the way out", () => {
  const own = container("wakeport", [legIn(bridge)]);
  const told = refusal(container("ftp", [front, back]), own, "auto");
  assert.match(told, /container ftp \(in demo_front, demo_back\) shares no network with wakeport \(in bridge\)/);
  assert.match(told, /docker network connect demo_front wakeport/);
});

test("a named network that the container is not in", () => {
  assert.match(
    refusal(container("ftp", [front]), undefined, "backend"),
    /not in network "backend", only in demo_front/,
  );
});

test("a named network that wakeport is not in is not replaced by another", () => {
  const own = container("wakeport", [legIn(front)]);
  assert.match(refusal(container("ftp", [front, back]), own, "back"), /shares no network/);
});

test("a container without any network", () => {
  assert.match(refusal(container("ftp", [], "none"), undefined, "auto"), /has no address on any network \(none\)/);
});
