/** The errors for responses of engines and of socket proxies. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { engineFault, isRefusal, type Operation } from "../../src/docker/faults.ts";
import { sentenceOf } from "../../src/errors.ts";

const AT = { url: "tcp://proxy:2375" };
const PAGE = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";

/** A response as dockerode throws it. */
function answer(statusCode: number, text: string, json: unknown = Buffer.from(text)): Error {
  return Object.assign(new Error(`(HTTP code ${statusCode}) unexpected - ${text} `), { statusCode, json });
}

suite("a refusal contains the setting", () => {
  const switches: Readonly<Record<Operation, string>> = {
    ping: "PING=1",
    version: "VERSION=1",
    events: "EVENTS=1",
    list: "CONTAINERS=1",
    stats: "CONTAINERS=1",
    inspect: "CONTAINERS=1",
    start: "ALLOW_START=1",
    stop: "ALLOW_STOP=1",
    pause: "ALLOW_PAUSE=1",
    unpause: "ALLOW_UNPAUSE=1",
    kill: "CONTAINERS and POST",
    logs: "ALLOW_LOGS=1",
    create: "CONTAINERS=1 and POST=1",
    remove: "CONTAINERS=1 and POST=1",
    connect: "NETWORKS=1 and POST=1",
    pull: "IMAGES=1 and POST=1",
  };
  for (const [operation, name] of Object.entries(switches) as [Operation, string][]) {
    test(`of ${operation}: ${name}`, () => {
      const fault = engineFault(answer(403, PAGE), { operation, subject: "container ftp" }, AT);
      assert.equal(fault.fault, "denied");
      assert.match(
        fault.message,
        new RegExp(`^the socket proxy at tcp://proxy:2375 refuses "${operation}" of container ftp$`),
      );
      assert.match(fault.remedy ?? "", new RegExp(name));
    });
  }

  test("for every status with which proxies deny", () => {
    for (const status of [401, 403, 405]) {
      assert.ok(isRefusal(answer(status, "no")));
      assert.equal(
        engineFault(answer(status, "no"), { operation: "start", subject: "container ftp" }, AT).fault,
        "denied",
      );
    }
    for (const status of [400, 404, 409, 500, 503]) assert.ok(!isRefusal(answer(status, "no")));
  });

  test("of a call without a container", () => {
    const { message } = engineFault(answer(403, PAGE), { operation: "ping", subject: "" }, AT);
    assert.equal(message, 'the socket proxy at tcp://proxy:2375 refuses "ping"');
  });

  test("by the engine itself, with the engine's message", () => {
    const text = "authorization denied by plugin gate: no";
    const { message, fault } = engineFault(
      answer(403, text, { message: text }),
      { operation: "stop", subject: "container ftp" },
      AT,
    );
    assert.equal(fault, "denied");
    assert.equal(message, `the engine at tcp://proxy:2375 refuses "stop" of container ftp: ${text}`);
  });
});

test("a proxy whose engine is down counts as an engine that is down", () => {
  for (const status of [502, 503, 504]) {
    const fault = engineFault(answer(status, PAGE), { operation: "inspect", subject: "container ftp" }, AT);
    assert.equal(fault.fault, "unreachable");
    assert.match(sentenceOf(fault), /proxy at tcp:\S+ gets no answer from the engine \(\d+\): start Docker, or check/);
    assert.doesNotMatch(fault.message, /</);
  }
});

test("an unused context is mentioned if no engine responds", () => {
  const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  const fault = engineFault(
    refused,
    { operation: "ping", subject: "" },
    { url: "unix:///s", hint: "the docker command goes elsewhere" },
  );
  assert.match(sentenceOf(fault), /no engine answers at unix:\/\/\/s .*; the docker command goes elsewhere$/);
});
