/** The reference configuration is documentation that a program reads: it must be valid, complete, and true. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { jsonSchema } from "../../src/config/schema.ts";

const file = path.join(import.meta.dirname, "../../compose/wakeport.reference.yaml");
const bytes = readFileSync(file);
const context = { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } };

/** Every key that the schema knows, wherever it is. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const own = "properties" in schema ? Object.keys(schema.properties as object) : [];
  return [...own, ...Object.values(schema).flatMap(keysOf)];
}

suite("compose/wakeport.reference.yaml", () => {
  test("is valid", () => {
    const { services } = parseConfig(bytes, file, context);
    assert.deepEqual(
      services.map(({ name }) => name),
      [
        "ftp",
        "api",
        "classic",
        "search",
        "worker",
        "dns",
        "docs",
        "legacy",
        "ping",
        "trap",
        "app",
        "other-sites",
        "web",
      ],
    );
  });

  test("has every key of the schema", () => {
    const missing = new Set(keysOf(jsonSchema()).filter((key) => !new RegExp(`\\b${key}:`).test(bytes.toString())));
    assert.deepEqual([...missing], []);
  });

  test("tells the defaults as they are", () => {
    const source = "services: { a: { ports: 1, container: a } }";
    const { services, admin, log, shutdown } = parseConfig(Buffer.from(source), "w.yaml", context);
    const [service] = services;
    const told = (key: string): string | undefined =>
      new RegExp(`^ *${key}: .*# default: (\\S+)$`, "m").exec(bytes.toString())?.[1];
    assert.equal(told("idle_timeout"), "5m");
    assert.equal(service?.idleTimeoutMs, 300_000);
    assert.equal(told("min_uptime"), "0s");
    assert.equal(service?.minUptimeMs, 0);
    assert.equal(told("start_timeout"), "60s");
    assert.equal(service?.startTimeoutMs, 60_000);
    assert.equal(told("release_pace"), String(service?.releasePace));
    assert.equal(told("protocol"), service?.protocol);
    assert.equal(told("hold"), service?.hold.kind);
    assert.equal(told("wake_on"), service?.wakeOn);
    assert.equal(told("waiting"), String(service?.limits.waiting));
    assert.equal(told("ipv6_prefix"), String(service?.limits.ipv6Prefix));
    assert.equal(told("on_limit"), service?.limits.onLimit);
    assert.equal(told("on_deny"), service?.onDeny);
    assert.equal(told("flow_timeout"), `${(service?.udp.flowTimeoutMs ?? 0) / 1000}s`);
    assert.equal(told("flows"), String(service?.udp.flows));
    assert.equal(told("held"), `${(service?.udp.heldBytes ?? 0) / 1024}k`);
    const created = parseConfig(
      Buffer.from("services: { a: { ports: 1, container: { image: a } } }"),
      "w.yaml",
      context,
    ).services[0]?.target;
    assert.equal(told("remove"), String(created?.kind === "created" && created.remove));
    assert.equal(told("enabled"), String(service?.enabled));
    assert.equal(told("listen"), `${admin.host}:${admin.port}`);
    assert.equal(told("level"), log.level);
    assert.equal(told("format"), log.format);
    assert.equal(told("user_id"), String(log.userId));
    assert.equal(told("targets"), shutdown.targets);
    assert.equal(told("drain"), `${shutdown.drainMs / 1000}s`);
  });
});
