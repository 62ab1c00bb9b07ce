/** DOCKER_HOST and the related variables. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, suite, test } from "node:test";
import { parseEngineHost } from "../../src/docker/host.ts";
import { TargetError } from "../../src/errors.ts";
import { Authority } from "../support/certificates.ts";

type Args = Parameters<typeof parseEngineHost>;

function refusal(...args: Args): string {
  try {
    parseEngineHost(...args);
  } catch (error) {
    assert.ok(error instanceof TargetError, String(error));
    assert.equal(error.fault, "invalid");
    return `${error.message}: ${error.remedy}`;
  }
  throw new assert.AssertionError({ message: "the value was accepted" });
}

suite("the engine's address", () => {
  test("is the default socket if DOCKER_HOST is not set or empty", () => {
    const usual = { url: "unix:///var/run/docker.sock", socketPath: "/var/run/docker.sock" };
    assert.deepEqual(parseEngineHost(undefined, {}), usual);
    const empty = { DOCKER_HOST: "", DOCKER_CONTEXT: "", DOCKER_TLS_VERIFY: "", DOCKER_CERT_PATH: "", HOME: "" };
    assert.deepEqual(parseEngineHost(undefined, empty), usual);
    assert.deepEqual(parseEngineHost(undefined, { DOCKER_CONTEXT: "default" }), usual);
  });

  test("is docker.host in preference to DOCKER_HOST", () => {
    assert.equal(parseEngineHost("unix:///a", { DOCKER_HOST: "unix:///b" }).socketPath, "/a");
    assert.equal(parseEngineHost(undefined, { DOCKER_HOST: "unix:///b" }).socketPath, "/b");
  });

  const addresses: Readonly<Record<string, readonly [host: string, port: number]>> = {
    "tcp://proxy": ["proxy", 2375],
    "tcp://proxy/": ["proxy", 2375],
    "tcp://proxy:2375": ["proxy", 2375],
    "tcp://proxy:80": ["proxy", 80],
    "tcp://10.0.0.5:4243": ["10.0.0.5", 4243],
    "tcp://[fd00::1]": ["fd00::1", 2375],
    "tcp://[::1]:2377": ["::1", 2377],
    "http://proxy:80": ["proxy", 80],
    "TCP://proxy": ["proxy", 2375],
  };
  for (const [url, [host, port]] of Object.entries(addresses)) {
    test(`${url} is host ${host}, port ${port}`, () => {
      assert.deepEqual(parseEngineHost(url, {}), { url, host, port });
    });
  }

  const wrong: Readonly<Record<string, RegExp>> = {
    "ssh://me@far": /needs ssh.*: forward the socket \(ssh -N -L/,
    "npipe:////./pipe/docker_engine": /Windows pipe.*: run wakeport in a Linux container/,
    "fd://": /unknown form: .*unix:\/\//,
    "/var/run/docker.sock": /unknown form: .*unix:\/\/\/path/,
    "proxy:2375": /unknown form: .*tcp:\/\/host:2375/,
    "unix://": /no absolute path/,
    "unix://run/docker.sock": /no absolute path: write three slashes/,
    "tcp://": /is not valid: .*tcp:\/\/host:2375/,
    "tcp://:2375": /is not valid/,
    "tcp://proxy:port": /is not valid/,
    "tcp://proxy:99999": /is not valid/,
    "tcp://proxy:0": /has port 0/,
    "tcp://fd00::1:2375": /is not valid: .*brackets/,
    "tcp://proxy:2375/v1.41": /more than a host and a port/,
    "tcp://me@proxy": /more than a host and a port/,
    "tcp://me:hunter2@proxy": /"tcp:\/\/me:\*\*\*@proxy" contains more than a host and a port/,
    "tcp://:hunter2@proxy": /"tcp:\/\/:\*\*\*@proxy" contains more than a host and a port/,
    "ssh://me:hunter2@proxy": /"ssh:\/\/me:\*\*\*@proxy" needs ssh/,
    "": /unknown form/,
  };
  for (const [url, reported] of Object.entries(wrong)) {
    test(`"${url}" is rejected with a remedy`, () => {
      assert.match(refusal(url, {}), reported);
    });
  }
});

suite("contexts of the docker command", () => {
  test("DOCKER_CONTEXT is rejected with a hint, unless an address is set too", () => {
    const reported = /DOCKER_CONTEXT=far is not supported: set DOCKER_HOST or docker.host .*docker context inspect far/;
    assert.match(refusal(undefined, { DOCKER_CONTEXT: "far" }), reported);
    assert.match(refusal(undefined, { DOCKER_CONTEXT: "far", DOCKER_HOST: "" }), reported);
    assert.equal(parseEngineHost(undefined, { DOCKER_CONTEXT: "far", DOCKER_HOST: "tcp://a" }).host, "a");
    assert.equal(parseEngineHost("tcp://b", { DOCKER_CONTEXT: "far" }).host, "b");
  });

  test("a context of `docker context use` is not used, and is mentioned if no engine responds", () => {
    const home = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
    try {
      const hint = (text: string, env: Args[1] = { HOME: home }): string | undefined => {
        mkdirSync(path.join(home, ".docker"), { recursive: true });
        writeFileSync(path.join(home, ".docker/config.json"), text);
        return parseEngineHost(undefined, env).hint;
      };
      const chosen = '{"currentContext": "desktop"}';
      assert.match(hint(chosen) ?? "", /context "desktop" here, which wakeport does not use/);
      assert.match(hint(chosen, { DOCKER_CONFIG: path.join(home, ".docker") }) ?? "", /desktop/);
      assert.equal(hint(chosen, { HOME: home, DOCKER_HOST: "unix:///a" }), undefined);
      for (const other of ["{}", "", "[]", "null", '{"currentContext": "default"}', '{"currentContext": 1}']) {
        assert.equal(hint(other), undefined, other);
      }
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});

suite("certificates", () => {
  const authority = new Authority();
  after(() => authority[Symbol.dispose]());
  const [good, other] = [authority.issue(), authority.issue()];
  const env = (at: string | undefined): Args[1] => ({ DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: at });

  test("enable TLS, with another default port", () => {
    const { port, tls } = parseEngineHost("tcp://proxy", env(good));
    assert.equal(port, 2376);
    assert.match(tls?.key.toString() ?? "", /PRIVATE KEY/);
    assert.equal(parseEngineHost("tcp://proxy:2375", env(good)).port, 2375);
    assert.ok(parseEngineHost("https://proxy:443", { DOCKER_CERT_PATH: good }).tls);
    assert.equal(parseEngineHost("https://proxy:443", { DOCKER_CERT_PATH: good }).port, 443);
    const yes = { ...env(good), DOCKER_TLS_VERIFY: "yes" };
    assert.ok(parseEngineHost("tcp://proxy", yes).tls, "any text enables TLS");
  });

  test("are not required for a socket or without DOCKER_TLS_VERIFY", () => {
    assert.equal(parseEngineHost("unix:///a", env("/nowhere")).tls, undefined);
    assert.equal(parseEngineHost("tcp://proxy", { DOCKER_CERT_PATH: "/nowhere" }).tls, undefined);
  });

  test("must exist", () => {
    for (const nowhere of [undefined, ""]) {
      assert.match(refusal("tcp://proxy", env(nowhere)), /DOCKER_CERT_PATH is not set: set it to the folder/);
    }
    assert.match(
      refusal("tcp://proxy", env("/nowhere")),
      /cannot read \/nowhere\/ca\.pem: .*DOCKER_CERT_PATH must contain/,
    );
  });

  const broken: readonly (readonly [name: string, reported: RegExp, spoil: (at: string) => void])[] = [
    ["a missing key", /cannot read \S+\/key\.pem/, (at) => rmSync(path.join(at, "key.pem"))],
    ["an empty CA", /\/ca\.pem is not a certificate/, (at) => writeFileSync(path.join(at, "ca.pem"), "")],
    [
      "a key for a certificate",
      /\/cert\.pem is not a certificate/,
      (at) => cpSync(path.join(at, "key.pem"), path.join(at, "cert.pem")),
    ],
    [
      "a certificate for a key",
      /\/key\.pem is not a private key/,
      (at) => cpSync(path.join(at, "cert.pem"), path.join(at, "key.pem")),
    ],
    [
      "a key of another",
      /\/key\.pem is not the key of \S+\/cert\.pem/,
      (at) => cpSync(path.join(other, "key.pem"), path.join(at, "key.pem")),
    ],
  ];
  for (const [name, reported, spoil] of broken) {
    test(`a missing ${name} is reported`, () => {
      const at = authority.issue();
      spoil(at);
      assert.match(refusal("tcp://proxy", env(at)), reported);
    });
  }
});
