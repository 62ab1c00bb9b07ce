import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { sharedSettings } from "../../src/config/client-needs.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { reasonToRelay } from "../../src/kernel-route/eligibility.ts";

function reasonFor(keys: string, more = "", log = ""): string | undefined {
  const text = `services:\n  web: { container: web, relay: kernel, ${keys} }\n${more}${log}`;
  const config = parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } });
  const [service] = config.services;
  assert.ok(service);
  return reasonToRelay(service, sharedSettings(config.services, config.log.userId));
}

const web = 'ports: ["8080:80"]';

suite("reasonToRelay()", () => {
  for (const keys of [
    web,
    'ports: ["8080:80", "53/udp", "9000-9003"]',
    `${web}, limits: { waiting: 5 }`,
    `${web}, access: { allow: [10.0.0.0/8], deny: [10.1.0.0/16] }`,
    `${web}, protocol: http, hold: page`,
    `${web}, sleep: pause, idle_timeout: 10s, min_uptime: 1m`,
  ]) {
    test(`is undefined for ${keys}`, () => assert.equal(reasonFor(keys), undefined));
  }

  const reasons: readonly (readonly [keys: string, reason: RegExp])[] = [
    [`${web}, access: { times: ["08:00-18:00"] }`, /"access.times"/],
    [`${web}, limits: { connections: 5 }`, /"limits"/],
    [`${web}, limits: { per_source: 5 }`, /"limits"/],
    [`${web}, limits: { rate: 5/s }`, /"limits"/],
    [`${web}, limits: { max_load: 5 }`, /"limits"/],
    [`${web}, host: a.example`, /by name/],
    [`${web}, proxy_protocol: { send: v2 }`, /"proxy_protocol"/],
    [`${web}, proxy_protocol: { receive: [10.0.0.1] }`, /"proxy_protocol"/],
    [`${web}, banner: { accept: hello }`, /"banner"/],
    [`${web}, monitors: [10.0.0.1]`, /"monitors"/],
    ['ports: ["21"], protocol: ftp', /FTP/],
    [`${web}, wake_on: first_byte`, /first_byte/],
    ['ports: ["127.0.0.1:8080:80"]', /one address/],
    ['ports: ["9000-9016"]', /more than 16 ports/],
  ];
  for (const [keys, reason] of reasons) {
    test(`names the reason for ${keys}`, () => assert.match(reasonFor(keys) ?? "", reason));
  }

  test("names a sensor of another service", () => {
    assert.match(reasonFor(web, "  trap: { ports: [23], sensor: { ban: 1h } }\n") ?? "", /sensor/);
  });

  test("names ident queries", () => {
    assert.match(reasonFor(web, "", "log: { user_id: true }\n") ?? "", /log\.user_id/);
  });
});
