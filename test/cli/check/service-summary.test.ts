import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { serviceSummary } from "../../../src/cli/check/service-summary.ts";
import { parseConfig } from "../../../src/config/parse.ts";

suite("serviceSummary()", () => {
  const cases: Readonly<Record<string, string | undefined>> = {
    "container: c": undefined,
    "container: c, protocol: ftp, ready: { banner: '220' }": 'speaks ftp; ready when it greets with "220"',
    "container: c, protocol: http, hold: page, wake_on: first_byte":
      "speaks http; browsers see a page; woken by the first byte",
    "container: c, protocol: http, hold: { page: { log_lines: 5 } }":
      "speaks http; browsers see a page, with 5 lines of its log",
    "container: c, protocol: redis, hold: silent, sleep: pause":
      "speaks redis; held: silent; ready when it answers PING and is not loading; sleeps by pause",
    "container: c, protocol: postgres, ready: tcp": "speaks postgres",
    "container: c, protocol: mysql": "speaks mysql; ready when it sends its handshake",
    "container: c, ready: [tcp, healthy, { log: up }, { http: /a, status: 204 }]":
      "ready when it accepts connections and it is healthy and its log has /up/ and GET /a answers 204",
    "container: c, sleep: [{ after: 1m, do: pause }, { after: 30m, do: stop }]":
      "sleeps by pause, and by stop 29m later",
    "forward: '192.0.2.1:80', proxy_protocol: { send: v2 }": "is told of its clients by PROXY v2",
    "builtin: echo": undefined,
  };
  for (const [settings, words] of Object.entries(cases)) {
    test(settings, () => {
      const text = `services: { a: { ports: 8080, ${settings} } }`;
      const { services } = parseConfig(Buffer.from(text), "w.yaml", {
        env: {},
        adminListen: { host: "127.0.0.1", port: 9464 },
      });
      assert.equal(serviceSummary(services[0]!), words);
    });
  }
});
