/**
 * Podman's Docker-compatible socket: the core of this suite, and the differences of Podman. No daemon owns its
 * containers, and some responses differ from Docker's: see src/docker/podman.ts.
 */
import assert from "node:assert/strict";
import http from "node:http";
import { after, suite, test } from "node:test";
import { Engine } from "../../src/docker/engine.ts";
import { parseEngineHost } from "../../src/docker/host.ts";
import { containerIdIn } from "../../src/docker/own-container.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { echo } from "../support/engine/containers.ts";
import { cannotHavePodman, PodmanEngine } from "../support/engine/podman-engine.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, type Peer } from "../support/net/tcp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const unlimited = new AbortController().signal;
const skip = await cannotHavePodman();

suite("on podman", { skip }, async () => {
  const podman = await PodmanEngine.open();
  after(() => podman[Symbol.asyncDispose]());
  // From here on, "the engine" is Podman: the modules read DOCKER_HOST when they are loaded.
  process.env["DOCKER_HOST"] = podman.host;
  const { engineTest } = await import("../support/engine/lab.ts");
  const { PORT } = await import("../support/engine/wakeport.ts");
  for (const core of ["contract", "wake", "others"]) await import(`./${core}.test.ts`);

  /** The engine in wakeport's status. */
  async function asked<T>(ask: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = new Engine(parseEngineHost(podman.host, {}), observer());
    try {
      // The first response identifies the engine.
      await engine.ping();
      return await ask(engine);
    } finally {
      engine.close();
    }
  }

  test("the engine identifies itself as Podman", async () => {
    assert.match(await asked((engine) => engine.version()), /^podman \d+\.\d+\.\d+ \(API 1\.\d+\)$/);
  });

  engineTest("the service is killed and restarted: open connections continue, new clients are served", async (lab) => {
    const target = await lab.container({ program: echo() });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "300ms" } });
    using client = await wakeport.connect("echo");
    await expectEcho(client, "before");
    // The event journal of the test ends with the service.
    await lab.engine.catchUp();
    await podman.kill();
    await expectEcho(client, "without");
    await eventually("the engine is reported down", () => !wakeport.isEngineUp);
    using other = await wakeport.connect("echo");
    await expectEcho(other, "without");
    await podman.start();
    await eventually("the engine is reported up", () => wakeport.isEngineUp);
    await expectEcho(client, "after");
    for (const peer of [client, other]) {
      peer.end();
      await peer.closes();
    }
    await wakeport.until("echo", "asleep");
    assert.equal(await target.isAwake(), false);
    // A new event stream needs an event.
    await Promise.all([lab.engine.open(), lab.container({ command: ["true"] })]);
    await wakeport.greeted("echo");
  });

  engineTest("a stop of a paused container stops it", async (lab) => {
    const target = await lab.container({ program: echo() });
    await target.start();
    await target.pause();
    await asked((engine) => engine.stop(target, 0, false, unlimited));
    assert.equal((await target.state())?.Status, "exited");
  });

  engineTest("a container without a stop timeout has the default, not zero", async (lab) => {
    const target = await lab.container({ command: ["sh", "-c", 'trap "exit 5" TERM; echo up; sleep 60 & wait'] });
    await target.start();
    await eventually("the container works", async () => (await target.output()).includes("up"));
    await asked(async (engine) => {
      assert.equal((await engine.inspect(target.id)).stopTimeoutS, undefined);
      await engine.stop(target, 10_000, true, unlimited);
    });
    assert.equal((await target.state())?.ExitCode, 5, "the container was killed");
  });

  engineTest(
    "a container that another program is stopping counts as running, and is not started too early",
    async (lab) => {
      const target = await lab.container({ program: echo({ onTerm: "ignore" }) });
      await target.start();
      const stopped = target.stop(1);
      await eventually("the container is stopping", async () => (await target.state())?.Status === "stopping");
      await asked(async (engine) => {
        assert.equal((await engine.inspect(target.id)).isRunning, true);
        assert.equal(await engine.start(target, unlimited), "already");
      });
      await stopped;
    },
  );

  engineTest(
    "a client that connects while another program stops the target is served by the next start",
    async (lab) => {
      const target = await lab.container({ program: echo({ onTerm: "close" }) });
      const wakeport = await lab.wakeport({ echo: { to: target } });
      const first = await wakeport.greeted("echo");
      const { NetworkSettings: network } = await lab.engine.docker.getContainer(target.id).inspect();
      const address = Object.values(network.Networks)[0]?.IPAddress ?? "";
      // Podman may report the container as running before its cleanup has finished.
      const stopped = target.stop().catch((error) => assert.equal(error.statusCode, 500));
      await eventually("the target does not listen any more", () => refuses(address, PORT));
      assert.notEqual(await wakeport.greeted("echo"), first);
      await stopped;
    },
  );

  engineTest("health: ready when Podman reports healthy", async (lab) => {
    // The test runs the healthcheck, which Podman leaves to systemd timers.
    const target = await lab.container({ program: echo(), healthcheck: { command: "true", retries: 1 } });
    const wakeport = await lab.wakeport({ echo: { to: target, ready: "healthy" } });
    using client = await wakeport.connect("echo");
    await eventually("the container is up", () => target.isAwake());
    assert.equal((await asked((engine) => engine.inspect(target.id))).health, "starting");
    assert.equal(wakeport.state("echo"), "starting");
    await get(podman.host, `/v4.0.0/libpod/containers/${target.id}/healthcheck`);
    await expectEcho(client, "well");
  });

  engineTest("a target in a network with IPv6 only is dialled there", async (lab) => {
    const network = await lab.engine.network({ IPAM: { Config: [{ Subnet: podman.subnet6 }] } });
    const target = await lab.container({ program: echo(), network });
    const wakeport = await lab.wakeport({ echo: { to: target } });
    await wakeport.greeted("echo");
    const { networks } = await asked((engine) => engine.inspect(target.id));
    assert.deepEqual(
      networks.map(({ name, ipv4, ipv6 }) => ({ name, ipv4, ipv6: ipv6 !== undefined })),
      [{ name: network, ipv4: undefined, ipv6: true }],
    );
  });

  engineTest("a wakeport in a container finds its own container", async (lab) => {
    const target = await lab.container({ command: ["cat", "/proc/self/mountinfo"] });
    await target.start();
    await eventually("the container ended", async () => (await target.state())?.Status === "exited");
    assert.equal(containerIdIn(await target.output()), target.id);
  });

  engineTest("the real program: wake, relay, sleep", async (lab) => {
    const target = await lab.container({ program: echo() });
    const listenPort = await freePort();
    const settings = {
      docker: { host: podman.host },
      admin: { listen: `127.0.0.1:${await freePort()}` },
      services: { echo: { ports: [`127.0.0.1:${listenPort}:${PORT}`], container: target.name, idle_timeout: "300ms" } },
    };
    await using file = await temporaryFile("wakeport.yaml", JSON.stringify(settings));
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    using client = await connect(listenPort);
    await expectEcho(client, "word");
    client.reset();
    const { reason } = await program.logged("target.asleep");
    assert.equal(reason, "idle");
    assert.equal(await target.isAwake(), false);
  });
});

/** Sends a word and waits for its echo. */
async function expectEcho(peer: Peer, word: string): Promise<void> {
  peer.send(word);
  await eventually(`an echo of "${word}"`, () => peer.text.endsWith(word) || peer.fate !== "open");
  assert.ok(peer.text.endsWith(word), `instead of an echo: ${peer.fate}`);
}

/** Returns true if the port is closed. */
async function refuses(host: string, port: number): Promise<boolean> {
  try {
    using _peer = await connect(port, host);
    return false;
  } catch {
    return true;
  }
}

async function get(host: string, path: string): Promise<void> {
  const socketPath = host.slice("unix://".length);
  const answer = Promise.withResolvers<void>();
  http
    .get({ socketPath, path, agent: false }, (response) => response.resume().on("end", answer.resolve))
    .on("error", answer.reject);
  await answer.promise;
}
