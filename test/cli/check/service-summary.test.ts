import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { serviceSummary } from "../../../src/cli/check/service-summary.ts";
import { parseConfig } from "../../../src/config/parse.ts";

suite("serviceSummary()", () => {
  const cases: Readonly<Record<string, string | undefined>> = {
    "container: c": undefined,
    "container: c, protocol: ftp, ready: { banner: '220' }": 'protocol ftp; ready when the server greets with "220"',
    "container: c, protocol: http, hold: page, wake_on: first_byte":
      "protocol http; browsers get a waiting page; started by the first byte",
    "container: c, protocol: http, hold: { page: { log_lines: 5 } }":
      "protocol http; browsers get a waiting page with 5 lines of the log",
    "container: c, protocol: redis, hold: silent, sleep: pause":
      "protocol redis; held: silent; ready when the server answers PING and is not loading; sleep: pause",
    "container: c, protocol: postgres, ready: tcp": "protocol postgres",
    "container: c, protocol: mysql": "protocol mysql; ready when the server sends its handshake",
    "container: c, ready: [tcp, healthy, { log: up }, { http: /a, status: 204 }]":
      "ready when the port accepts connections and the container is healthy and the log matches /up/ and GET /a returns 204",
    "container: c, sleep: [{ after: 1m, do: pause }, { after: 30m, do: stop }]": "sleep: pause, then stop after 29m",
    "forward: '192.0.2.1:80', proxy_protocol: { send: v2 }": "receives a PROXY v2 header",
    "builtin: echo": undefined,
  };
  for (const [settings, summary] of Object.entries(cases)) {
    test(settings, () => {
      const text = `services: { a: { ports: 8080, ${settings} } }`;
      const { services } = parseConfig(Buffer.from(text), "w.yaml", {
        env: {},
        adminListen: { host: "127.0.0.1", port: 9464 },
      });
      assert.equal(serviceSummary(services[0]!), summary);
    });
  }
});
