import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Service } from "../../../src/config/config.ts";
import { protocolNames, serverFirst } from "../../../src/config/config.ts";
import { parseConfig } from "../../../src/config/parse.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

function services(yaml: string): readonly Service[] {
  return parseConfig(Buffer.from(yaml), "w.yaml", context).services;
}

/** `place: message | hint` */
function problems(yaml: string): string[] {
  try {
    services(yaml);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ span, message, hint }) => {
      return `${yaml.slice(span?.start, span?.end)}: ${message} | ${hint}`;
    });
  }
  return [];
}

suite("wake_on", () => {
  test("is connect, unless defaults set it", () => {
    const [a, b] = services(`defaults: { wake_on: first_byte }
services: { a: { ports: 1, container: a }, b: { ports: 2, container: b, wake_on: connect } }`);
    assert.deepEqual([a?.wakeOn, b?.wakeOn], ["first_byte", "connect"]);
    assert.equal(services("services: { a: { ports: 1, container: a } }")[0]?.wakeOn, "connect");
  });

  test("rejects first_byte for protocols in which the server sends first", () => {
    for (const protocol of protocolNames) {
      const file = `services: { a: { ports: 1, container: c, protocol: ${protocol}, wake_on: first_byte } }`;
      const message = `wake_on: service "a": no first byte would arrive: in ${protocol} the server sends first | remove it, or use "connect"`;
      assert.deepEqual(problems(file), serverFirst.has(protocol) ? [message] : []);
    }
    const [mail, stores] = [["smtp", "ssh", "mysql"] as const, ["raw", "redis", "postgres"] as const];
    assert.ok(mail.every((name) => serverFirst.has(name)) && !stores.some((name) => serverFirst.has(name)));
  });

  test("rejects first_byte with data ports, also from defaults", () => {
    const why = 'service "a": no first byte would arrive: data ports are for FTP, in which the server sends first';
    assert.deepEqual(problems("services: { a: { ports: 21, data: 30000, container: a, wake_on: first_byte } }"), [
      `wake_on: ${why} | remove it, or use "connect"`,
    ]);
    const [problem] = problems(
      "services: { a: { ports: 21, data: 30000, container: a } }\ndefaults: { wake_on: first_byte }",
    );
    assert.equal(problem, `a: ${why} | add "wake_on: connect" here`);
  });

  test("is rejected for targets without a start, but ignored in defaults", () => {
    assert.deepEqual(problems("services: { a: { ports: 7, builtin: echo, wake_on: first_byte } }"), [
      'wake_on: service "a": "wake_on" has no effect for "builtin" | remove it',
    ]);
    assert.deepEqual(problems("services: { a: { ports: 7, builtin: echo } }\ndefaults: { wake_on: first_byte }"), []);
  });
});
