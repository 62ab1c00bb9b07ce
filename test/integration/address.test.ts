/** The choice of the container address that wakeport dials. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DialAddress, dialAddressOf } from "../../src/docker/address.ts";
import type { ContainerFacts, ContainerNetwork } from "../../src/docker/container-facts.ts";
import { TargetError } from "../../src/errors.ts";

const bridge: ContainerNetwork = { name: "bridge", id: "b", ipv4: "172.17.0.2", gateway: "172.17.0.1" };
const listenPort: ContainerNetwork = { name: "demo_front", id: "f", ipv4: "10.1.0.2" };
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
    finishedAt: "",
    startedAt: "",
    dependsOn: [],
    exitCode: 0,
    oomKilled: false,
    hasTty: false,
    restartPolicy: "no",
    image: "busybox",
    pid: 1,
    publishedPorts: [],
    bindings: [],
    hasHealthcheck: false,
    links: [],
    mounts: [],
    execIds: [],
    isAutoRemoved: false,
    project: "demo",
    composeService: name,
  };
}

/** A container without compose labels. */
function plain(facts: ContainerFacts): ContainerFacts {
  const { composeService: _service, project: _project, ...rest } = facts;
  return rest;
}

/** The same network, as the other container has it. */
function legIn({ name, id, gateway }: ContainerNetwork): ContainerNetwork {
  return { name, id, ipv4: "10.9.9.9", ...(gateway !== undefined && { gateway }) };
}

interface Case {
  readonly to: ContainerFacts;
  readonly holder?: ContainerFacts;
  readonly own?: ContainerFacts;
  readonly wanted?: string;
  readonly mayBeElsewhere?: boolean;
}

function route({ to, holder = to, own, wanted = "auto", mayBeElsewhere = false }: Case): DialAddress {
  return dialAddressOf(to, holder, { own, mayBeElsewhere }, wanted);
}

function refusal(which: Case): string {
  try {
    route(which);
  } catch (error) {
    assert.ok(error instanceof TargetError);
    return `${error.fault}: ${error.message}: ${error.remedy}`;
  }
  throw new assert.AssertionError({ message: "an address was found" });
}

test("on the host, the first network is used; a timeout lists the other networks", () => {
  const found = route({ to: container("ftp", [listenPort, back]) });
  assert.equal(found.address, "10.1.0.2");
  assert.match(found.caveat ?? "", /dialled on its network "demo_front"; "network:" chooses another one \(demo_back\)/);
});

test("with one network, a timeout has no hint about networks", () => {
  assert.deepEqual(route({ to: container("ftp", [listenPort]) }), { address: "10.1.0.2" });
});

test("in a container, only a shared network is used", () => {
  const own = container("wakeport", [legIn(bridge), legIn(back)]);
  assert.deepEqual(route({ to: container("ftp", [listenPort, back]), own }), { address: "10.2.0.2", ipv6: "fd00::2" });
});

test("networks are compared by id: another network with the same name is not shared", () => {
  const own = container("wakeport", [{ ...legIn(listenPort), id: "other" }]);
  assert.match(refusal({ to: container("ftp", [listenPort]), own }), /^no_route: .* shares no network/);
});

test("a configured network is found with or without the compose project prefix", () => {
  const to = container("ftp", [listenPort, back]);
  for (const wanted of ["demo_back", "back"]) assert.equal(route({ to, wanted }).address, "10.2.0.2");
});

test("IPv4 is preferred, IPv6 is used without IPv4", () => {
  assert.equal(route({ to: container("ftp", [back]) }).address, "10.2.0.2");
  const six = { name: "six", id: "6", ipv6: "fd00::6" };
  assert.equal(route({ to: container("ftp", [six]) }).address, "fd00::6");
  const own = container("wakeport", [{ ...six, ipv6: "fd00::7" }]);
  assert.equal(route({ to: container("ftp", [listenPort, six]), own }).address, "fd00::6");
});

test("wakeport in the host network reaches every bridge network", () => {
  const own = container("wakeport", [{ name: "host", id: "h" }], "host");
  assert.equal(route({ to: container("ftp", [back]), own }).address, "10.2.0.2");
  assert.equal(route({ to: container("ftp", [{ name: "host", id: "h" }], "host"), own }).address, "127.0.0.1");
});

test("a target in the host network is dialled on the loopback from the host, at the gateway from a container, with a warning", () => {
  const to = container("ftp", [{ name: "host", id: "h" }], "host");
  assert.deepEqual(route({ to }), { address: "127.0.0.1" });
  const found = route({ to, own: container("wakeport", [legIn(listenPort), legIn(bridge)]) });
  assert.equal(found.address, "172.17.0.1");
  assert.match(
    found.caveat ?? "",
    /ftp uses the host's network, which has the address 172\.17\.0\.1 from here: .* all addresses/,
  );
});

test("the host is not reachable from networks without a gateway", () => {
  const to = container("ftp", [{ name: "host", id: "h" }], "host");
  const reported = refusal({ to, own: container("wakeport", [legIn(listenPort)]) });
  assert.match(reported, /no_route: .* wakeport \(in demo_front\) cannot reach: .*"network_mode: host"/);
});

test("a target that uses another container's network is dialled there", () => {
  const to = { ...container("ftp", [], "container:vpn"), networkOf: "vpn" };
  assert.equal(route({ to, holder: container("vpn", [listenPort]) }).address, "10.1.0.2");
  assert.equal(route({ to, holder: container("vpn", [{ name: "host", id: "h" }], "host") }).address, "127.0.0.1");
  assert.match(refusal({ to, holder: container("vpn", [{ name: "none", id: "n" }], "none") }), /ftp has no network/);
});

test("a target in wakeport's own network namespace is dialled on the loopback", () => {
  const own = container("wakeport", [listenPort]);
  const to = { ...container("ftp", [], "container:wakeport"), networkOf: "wakeport" };
  assert.equal(route({ to, holder: own, own }).address, "127.0.0.1");
});

test("wakeport in the network of its own target is rejected, because stopping the target would remove the network", () => {
  const to = container("ftp", [listenPort]);
  assert.match(refusal({ to, own: to }), /^invalid: wakeport uses the network of container ftp.*"service:wakeport"/);
});

test("no shared network: the error contains both sides, the line of YAML, and the command", () => {
  const own = container("wakeport", [legIn({ name: "demo_default", id: "d" })]);
  assert.equal(
    refusal({ to: container("ftp", [listenPort, back]), own }),
    "no_route: container ftp (in demo_front, demo_back) shares no network with wakeport (in demo_default): " +
      "in the compose file, under wakeport:, write  networks: [default, front]; " +
      "or, until it is recreated: docker network connect demo_front wakeport",
  );
});

test("no shared network: the network of another compose project must be declared", () => {
  const own = container("wakeport", [legIn({ name: "demo_default", id: "d" })]);
  const to = { ...container("ftp", [{ name: "shop_default", id: "s", ipv4: "10.3.0.2" }]), project: "shop" };
  assert.match(
    refusal({ to, own }),
    /networks: \[default, shop_default\] and at the top level {2}networks: \{ shop_default: \{ external: true \} \}/,
  );
});

test("no shared network: the default bridge is not suggested, and containers without compose get a command", () => {
  const own = container("wakeport", [legIn(listenPort)]);
  assert.match(
    refusal({ to: plain(container("ftp", [bridge])), own }),
    /: connect them: docker network connect demo_front ftp$/,
  );
  const outside = plain(container("wakeport", [legIn(bridge)]));
  assert.match(
    refusal({ to: container("ftp", [listenPort]), own: outside }),
    /docker network connect demo_front wakeport$/,
  );
});

test("wakeport without a network is reported", () => {
  const own = container("wakeport", [{ name: "none", id: "n" }], "none");
  assert.match(refusal({ to: container("ftp", [listenPort]), own }), /remove "network_mode: none" from .* "wakeport"/);
});

test("a configured network without the container: the error contains the corrected line", () => {
  const reported = refusal({ to: container("ftp", [listenPort]), wanted: "backend" });
  assert.match(reported, /not in network "backend", only in demo_front: .*"network: demo_front"/);
});

test("a configured network without wakeport is not replaced by another network", () => {
  const own = container("wakeport", [legIn(listenPort)]);
  const reported = refusal({ to: container("ftp", [listenPort, back]), own, wanted: "back" });
  assert.match(reported, /does not share its network "back" with wakeport .* networks: \[front, back\]/);
});

test("a container without a network and a container without an address are reported", () => {
  const none = container("ftp", [{ name: "none", id: "n" }], "none");
  assert.match(refusal({ to: none }), /ftp has no network \(network_mode: none\).*up -d --force-recreate ftp$/);
  assert.match(refusal({ to: container("ftp", []) }), /has no address on any network \(none\)/);
});

test("if the engine may be on another machine, a timeout contains that hint, except in a container of that engine", () => {
  const to = container("ftp", [listenPort]);
  assert.match(route({ to, mayBeElsewhere: true }).caveat ?? "", /run wakeport as a container/);
  assert.deepEqual(route({ to, mayBeElsewhere: true, own: container("wakeport", [legIn(listenPort)]) }), {
    address: "10.1.0.2",
  });
});
