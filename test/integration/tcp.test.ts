/** An engine over TCP, plain and with TLS. It is a private engine, because the common one listens on a socket. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Engine } from "../../src/docker/engine.ts";
import { parseEngineHost } from "../../src/docker/host.ts";
import { sentenceOf, TargetError } from "../../src/errors.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { violations } from "../support/activation/invariants.ts";
import { Authority } from "../support/certificates.ts";
import { echo } from "../support/engine/containers.ts";
import { Lab, skip } from "../support/engine/lab.ts";
import { cannotProxy, NarrowProxy } from "../support/engine/narrow-proxy.ts";
import { cannotHaveEngine, PrivateEngine } from "../support/engine/private-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

type Environment = Readonly<Record<string, string>>;

const { address } = PrivateEngine;

/** Wakes a target of a private engine, checks its echo, and waits until it sleeps. */
async function serves(engine: PrivateEngine, host: string, env: Environment = {}): Promise<void> {
  const target = await engine.echo();
  await using wakeport = await Wakeport.open({ echo: { to: target, idle_timeout: "50ms" } }, { docker: { host }, env });
  await eventually("the engine responds", () => wakeport.isEngineUp);
  {
    using peer = await wakeport.connect("echo");
    peer.send("word");
    await eventually("an echo", () => peer.text === "word" || peer.fate !== "open");
    assert.equal(peer.text, "word", peer.fate);
  }
  await wakeport.until("echo", "asleep");
  await wakeport.settle();
  await wakeport.close();
  assert.deepEqual(violations(wakeport.evidence), []);
}

/** The error message of a ping. */
async function complaint(host: string, env: Environment = {}): Promise<string> {
  const engine = new Engine(parseEngineHost(host, env), observer());
  try {
    await engine.ping();
  } catch (error) {
    assert.ok(error instanceof TargetError, String(error));
    return sentenceOf(error);
  } finally {
    engine.close();
  }
  throw new assert.AssertionError({ message: "the ping succeeded" });
}

suite("a plain one", { skip: cannotHaveEngine }, () => {
  let engine: PrivateEngine;
  let authority: Authority;
  before(async () => {
    authority = new Authority();
    engine = await PrivateEngine.open("-H", "tcp://0.0.0.0:2375", "-H", "tcp://0.0.0.0:4243", "--tls=false");
  });
  after(async () => {
    authority[Symbol.dispose]();
    await engine[Symbol.asyncDispose]();
  });

  test("without a port, 2375 is used", () => serves(engine, `tcp://${address}`));
  test("with a port", () => serves(engine, `tcp://${address}:4243`));

  test("with TLS to a port without TLS: the message names the variable to unset", async () => {
    const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: authority.issue() };
    assert.match(
      await complaint(`tcp://${address}:2375`, env),
      /does not use TLS on this port: unset DOCKER_TLS_VERIFY/,
    );
  });

  test("a closed port is reported", async () => {
    assert.match(await complaint(`tcp://${address}:1`), /no engine answers at tcp:\S+ \(ECONNREFUSED\): start Docker/);
  });

  test("an unknown host name is reported", async () => {
    assert.match(
      await complaint("tcp://engine.invalid"),
      /host name in tcp:\/\/engine\.invalid cannot be resolved .*share a net/,
    );
  });
});

suite("one with TLS", { skip: cannotHaveEngine }, () => {
  let engine: PrivateEngine;
  let authority: Authority;
  let otherAuthority: Authority;
  const host = `tcp://${address}`;
  const verify = (folder: string): Environment => ({ DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: folder });

  before(async () => {
    authority = new Authority();
    otherAuthority = new Authority();
    const own = authority.issue({ names: `IP:${address}` });
    const files = [`--tlscacert=${own}/ca.pem`, `--tlscert=${own}/cert.pem`, `--tlskey=${own}/key.pem`];
    engine = await PrivateEngine.open("-H", "tcp://0.0.0.0:2376", "--tlsverify", ...files);
  });
  after(async () => {
    authority[Symbol.dispose]();
    otherAuthority[Symbol.dispose]();
    await engine[Symbol.asyncDispose]();
  });

  test("without a port, 2376 is used", () => serves(engine, host, verify(authority.issue())));
  test("with a port", () => serves(engine, `${host}:2376`, verify(authority.issue())));

  test("without TLS: the message names the variable to set", async () => {
    assert.match(
      await complaint(`${host}:2376`),
      /requires TLS, but wakeport connected without TLS: set DOCKER_TLS_VERIFY=1/,
    );
  });

  test("an expired client certificate is reported", async () => {
    const reported = await complaint(host, verify(authority.issue({ days: -1 })));
    assert.match(reported, /does not accept cert\.pem in DOCKER_CERT_PATH: renew it/);
  });

  test("a client certificate of another CA is reported", async () => {
    const reported = await complaint(host, verify(otherAuthority.issue({ trusts: authority })));
    assert.match(reported, /does not accept cert\.pem in DOCKER_CERT_PATH: .*signed by its CA/);
  });

  test("an engine certificate of another CA: the message names ca.pem", async () => {
    const reported = await complaint(host, verify(authority.issue({ trusts: otherAuthority })));
    assert.match(reported, /ca\.pem in DOCKER_CERT_PATH must be the CA that signed/);
  });
});

suite("an invalid engine certificate", { skip: cannotHaveEngine }, () => {
  const cases = [
    { name: "it expired", spec: { names: `IP:${address}`, days: -1 }, reported: /renew the engine's certificate/ },
    { name: "it is for another name", spec: { names: "DNS:elsewhere" }, reported: /certificate is for other names/ },
  ];
  for (const { name, spec, reported } of cases) {
    test(`${name}: the message contains the reason`, async () => {
      using authority = new Authority();
      const own = authority.issue(spec);
      const files = [`--tlscacert=${own}/ca.pem`, `--tlscert=${own}/cert.pem`, `--tlskey=${own}/key.pem`];
      await using _engine = await PrivateEngine.open("-H", "tcp://0.0.0.0:2376", "--tlsverify", ...files);
      const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: authority.issue() };
      assert.match(await complaint(`tcp://${address}`, env), reported);
    });
  }
});

for (const bind of ["127.0.0.1", "[::1]"]) {
  test(`a socket proxy on ${bind}`, { skip: skip || cannotProxy }, async () => {
    await using lab = await Lab.open();
    await using proxy = await NarrowProxy.open({ bind: `${bind}:${await freePort()}` });
    const target = await lab.container({ program: echo() });
    const services = { echo: { to: target, idle_timeout: "50ms" } };
    const wakeport = await lab.wakeport(services, { docker: { host: proxy.host } });
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    await lab.check();
  });
}
