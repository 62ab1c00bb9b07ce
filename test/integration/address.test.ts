/** Which of a container's addresses is dialled. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Route, routeTo } from "../../src/docker/address.ts";
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

/** A container that no compose file describes. */
function plain(facts: ContainerFacts): ContainerFacts {
  const { composeService: _service, project: _project, ...rest } = facts;
  return rest;
}

/** The same network, from the other side. */
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

function route({ to, holder = to, own, wanted = "auto", mayBeElsewhere = false }: Case): Route {
  return routeTo(to, holder, { own, mayBeElsewhere }, wanted);
}

function refusal(which: Case): string {
  try {
    route(which);
  } catch (error) {
    assert.ok(error instanceof TargetError);
    return `${error.fault}: ${error.message}: ${error.remedy}`;
  }
  throw new assert.AssertionError({ message: "it found an address" });
}

test("on the host, the first of its networks; a timeout says that there are others", () => {
  const found = route({ to: container("ftp", [listenPort, back]) });
  assert.equal(found.address, "10.1.0.2");
  assert.match(found.caveat ?? "", /dialled on its network "demo_front"; "network:" chooses another one \(demo_back\)/);
});

test("with one network there is nothing to be said about it", () => {
  assert.deepEqual(route({ to: container("ftp", [listenPort]) }), { address: "10.1.0.2" });
});

test("in a container, only a network that both are in", () => {
  const own = container("wakeport", [legIn(bridge), legIn(back)]);
  assert.deepEqual(route({ to: container("ftp", [listenPort, back]), own }), { address: "10.2.0.2" });
});

test("networks are told by their id: another one of the same name is not shared", () => {
  const own = container("wakeport", [{ ...legIn(listenPort), id: "other" }]);
  assert.match(refusal({ to: container("ftp", [listenPort]), own }), /^no_route: .* shares no network/);
});

test("a named network, with or without the compose project before it", () => {
  const to = container("ftp", [listenPort, back]);
  for (const wanted of ["demo_back", "back"]) assert.deepEqual(route({ to, wanted }), { address: "10.2.0.2" });
});

test("IPv4 where there are both, IPv6 where there is nothing else", () => {
  assert.equal(route({ to: container("ftp", [back]) }).address, "10.2.0.2");
  const six = { name: "six", id: "6", ipv6: "fd00::6" };
  assert.equal(route({ to: container("ftp", [six]) }).address, "fd00::6");
  const own = container("wakeport", [{ ...six, ipv6: "fd00::7" }]);
  assert.equal(route({ to: container("ftp", [listenPort, six]), own }).address, "fd00::6");
});

test("wakeport in the host's network has a leg in every bridge network", () => {
  const own = container("wakeport", [{ name: "host", id: "h" }], "host");
  assert.equal(route({ to: container("ftp", [back]), own }).address, "10.2.0.2");
  assert.equal(route({ to: container("ftp", [{ name: "host", id: "h" }], "host"), own }).address, "127.0.0.1");
});

test("a target in the host's network: on the host its loopback, in a container the gateway, with a caveat", () => {
  const to = container("ftp", [{ name: "host", id: "h" }], "host");
  assert.deepEqual(route({ to }), { address: "127.0.0.1" });
  const found = route({ to, own: container("wakeport", [legIn(listenPort), legIn(bridge)]) });
  assert.equal(found.address, "172.17.0.1");
  assert.match(
    found.caveat ?? "",
    /ftp uses the host's network, which has the address 172\.17\.0\.1 from here: .* all addresses/,
  );
});

test("the host cannot be seen from networks without a gateway", () => {
  const to = container("ftp", [{ name: "host", id: "h" }], "host");
  const told = refusal({ to, own: container("wakeport", [legIn(listenPort)]) });
  assert.match(told, /no_route: .* wakeport \(in demo_front\) cannot reach: .*"network_mode: host"/);
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

test("wakeport in the network of its own target is refused: it would lose it with the first sleep", () => {
  const to = container("ftp", [listenPort]);
  assert.match(refusal({ to, own: to }), /^invalid: wakeport uses the network of container ftp.*"service:wakeport"/);
});

test("no shared network: both sides, the line of YAML, and the command", () => {
  const own = container("wakeport", [legIn({ name: "demo_default", id: "d" })]);
  assert.equal(
    refusal({ to: container("ftp", [listenPort, back]), own }),
    "no_route: container ftp (in demo_front, demo_back) shares no network with wakeport (in demo_default): " +
      "in the compose file, under wakeport:, write  networks: [default, front]; " +
      "or, until it is recreated: docker network connect demo_front wakeport",
  );
});

test("no shared network: that of another compose project must be declared", () => {
  const own = container("wakeport", [legIn({ name: "demo_default", id: "d" })]);
  const to = { ...container("ftp", [{ name: "shop_default", id: "s", ipv4: "10.3.0.2" }]), project: "shop" };
  assert.match(
    refusal({ to, own }),
    /networks: \[default, shop_default\] and at the top level {2}networks: \{ shop_default: \{ external: true \} \}/,
  );
});

test("no shared network: nobody joins the default bridge, and what is not compose's gets a command", () => {
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

test("wakeport without any network", () => {
  const own = container("wakeport", [{ name: "none", id: "n" }], "none");
  assert.match(refusal({ to: container("ftp", [listenPort]), own }), /remove "network_mode: none" from .* "wakeport"/);
});

test("a named network that the container is not in: the line that is right", () => {
  const told = refusal({ to: container("ftp", [listenPort]), wanted: "backend" });
  assert.match(told, /not in network "backend", only in demo_front: .*"network: demo_front"/);
});

test("a named network that wakeport is not in is not replaced by another", () => {
  const own = container("wakeport", [legIn(listenPort)]);
  const told = refusal({ to: container("ftp", [listenPort, back]), own, wanted: "back" });
  assert.match(told, /does not share its network "back" with wakeport .* networks: \[front, back\]/);
});

test("a container without any network, and one without any address", () => {
  const none = container("ftp", [{ name: "none", id: "n" }], "none");
  assert.match(refusal({ to: none }), /ftp has no network \(network_mode: none\).*up -d --force-recreate ftp$/);
  assert.match(refusal({ to: container("ftp", []) }), /has no address on any network \(none\)/);
});

test("where the engine may be on another machine, a timeout says so; in a container of that engine it is not", () => {
  const to = container("ftp", [listenPort]);
  assert.match(route({ to, mayBeElsewhere: true }).caveat ?? "", /run wakeport as a container/);
  assert.deepEqual(route({ to, mayBeElsewhere: true, own: container("wakeport", [legIn(listenPort)]) }), {
    address: "10.1.0.2",
  });
});
