import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import type { ActivatorView } from "../../src/activation/activator-view.ts";
import type { ConnectionReport } from "../../src/proxy/reports.ts";
import { UnroutedError, unroutedReasons } from "../../src/proxy/unrouted.ts";
import { Metrics, type ServiceGauges } from "../../src/telemetry/metrics.ts";
import { noDatagrams } from "../../src/udp/datagrams.ts";
import { eventually } from "../support/eventually.ts";

const asleep: ActivatorView = {
  target: "container a",
  state: "asleep",
  cause: "idle",
  since: 0,
  dependents: [],
  keptAwakeBy: [],
  held: 0,
  waiting: 0,
  awakeMs: 0,
};

function metricsOf(gauges: Partial<ServiceGauges> = {}): { metrics: Metrics; gauges: { current: ServiceGauges } } {
  const current = { service: "a", view: asleep, waiting: 0, active: 0, meter: { in: 0, out: 0 }, ...gauges };
  const holder = { current };
  const metrics = new Metrics({ version: "1", revision: "r", nodeVersion: "n" }, () => [holder.current]);
  metrics.addService("a", true);
  metrics.addEngine();
  return { metrics, gauges: holder };
}

/** The value of a series in the text format. */
async function seriesValue(metrics: Metrics, series: string): Promise<number | undefined> {
  const line = (await metrics.text()).split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

const connection: ConnectionReport = {
  service: "a",
  id: 1,
  client: "c",
  listener: "f",
  outcome: "relayed",
  start: "cold",
  waitMs: 300,
  durationMs: 900,
  bytesIn: 1,
  bytesOut: 2,
};

suite("Metrics", () => {
  test("samples the lag of the event loop only after a scrape that finds a service in use", async () => {
    const { metrics, gauges } = metricsOf();
    const maximum = (): Promise<number | undefined> => seriesValue(metrics, "nodejs_eventloop_lag_max_seconds");
    assert.equal(await maximum(), undefined);
    gauges.current = { ...gauges.current, active: 1 };
    assert.equal(await maximum(), undefined);
    await eventually("a blocked event loop is sampled", async () => {
      // Samples are 200 ms apart, and the first one after a scrape only begins the measurement.
      await scheduler.wait(300);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
      await scheduler.wait(300);
      return ((await maximum()) ?? 0) > 0.05;
    });
    gauges.current = { ...gauges.current, active: 0 };
    await maximum();
    assert.equal(await maximum(), undefined);
  });

  test("creates all series of a service with value 0", async () => {
    const { metrics } = metricsOf();
    const outcomes = ["relayed", "denied_limit", "start_failed", "start_timeout", "dial_failed", "client_gone"];
    for (const outcome of outcomes) {
      assert.equal(await seriesValue(metrics, `wakeport_connections_total{service="a",outcome="${outcome}"}`), 0);
    }
    for (const outcome of ["ready", "timeout", "exited", "unhealthy", "engine_error", "cancelled"]) {
      assert.equal(await seriesValue(metrics, `wakeport_activations_total{service="a",outcome="${outcome}"}`), 0);
    }
    assert.equal(await seriesValue(metrics, `wakeport_sleeps_total{service="a",reason="idle",action="stop"}`), 0);
    assert.equal(await seriesValue(metrics, `wakeport_connection_wait_seconds_count{service="a",start="cold"}`), 0);
    assert.equal(await seriesValue(metrics, `wakeport_transferred_bytes_total{service="a",direction="in"}`), 0);
    assert.equal(await seriesValue(metrics, `wakeport_target_running_seconds_total{service="a"}`), 0);
    assert.equal(await seriesValue(metrics, "wakeport_engine_up"), 0);
    assert.equal(await seriesValue(metrics, "wakeport_engine_events_reconnects_total"), 0);
  });

  test("outcomesOf() returns the outcomes and denial reasons of one service that occurred", async () => {
    const { metrics } = metricsOf();
    metrics.observer.connection(connection);
    metrics.observer.connection({ ...connection, outcome: "denied_address", reason: "banned" });
    metrics.observer.connection({ ...connection, service: "b" });
    const counts = { outcomes: { relayed: 1, denied_address: 1 }, denials: { banned: 1 } };
    assert.deepEqual(await metrics.outcomesOf("a"), counts);
    assert.deepEqual(await metrics.outcomesOf("c"), { outcomes: {}, denials: {} });
  });

  test("counts unrouted clients by listener and reason, beginning with 0", async () => {
    const { metrics } = metricsOf();
    metrics.addListener("*:443");
    const series = (reason: string): string => `wakeport_unrouted_total{listener="*:443",reason="${reason}"}`;
    for (const reason of unroutedReasons) assert.equal(await seriesValue(metrics, series(reason)), 0);
    const error = new UnroutedError("unknown_name", "no service here has the name a.test");
    metrics.observer.unrouted({ listener: "*:443", client: "127.0.0.1:5", error, durationMs: 1, name: "a.test" });
    assert.equal(await seriesValue(metrics, series("unknown_name")), 1);
    assert.doesNotMatch(await metrics.text(), /a\.test/);
  });

  test("has no series of the engine if no engine is needed", async () => {
    const metrics = new Metrics({ version: "1", revision: "r", nodeVersion: "n" }, () => []);
    assert.doesNotMatch(await metrics.text(), /^wakeport_engine_up/m);
  });

  test("engine_up follows the engine", async () => {
    const { metrics } = metricsOf();
    metrics.observer.engineUp("docker 26.1");
    assert.equal(await seriesValue(metrics, "wakeport_engine_up"), 1);
    metrics.observer.engineDown(new Error("gone"));
    assert.equal(await seriesValue(metrics, "wakeport_engine_up"), 0);
    metrics.observer.eventsReconnected();
    assert.equal(await seriesValue(metrics, "wakeport_engine_events_reconnects_total"), 1);
  });

  test("keeps the names, labels and types of all series", async () => {
    const { metrics } = metricsOf({
      view: { ...asleep, idleDeadline: 1_000, lastActivity: 1_000 },
      udp: { flows: 0, in: 0, out: 0, dropped: noDatagrams().dropped },
    });
    metrics.observer.engineCall({ operation: "start", code: "204", durationMs: 5 });
    metrics.addListener("*:443");
    const families = (await metrics.text()).matchAll(/^# TYPE (wakeport_\S+) (\S+)\n((?:\1.*\n)*)/gm);
    const found = [...families].map(([, name, type, series = ""]) => {
      const labels = new Set([...series.matchAll(/([a-z_]+)="/g)].map(([, label]) => label));
      return `${name} ${type} ${[...labels].filter((label) => label !== "le").join()}`.trim();
    });
    assert.deepEqual(found.toSorted(), [
      "wakeport_activation_duration_seconds histogram service",
      "wakeport_activation_phase_duration_seconds histogram service,phase",
      "wakeport_activations_total counter service,outcome",
      "wakeport_build_info gauge version,revision,node_version",
      "wakeport_config_last_reload_success_timestamp_seconds gauge",
      "wakeport_config_last_reload_successful gauge",
      "wakeport_config_reloads_total counter result",
      "wakeport_connection_duration_seconds histogram service",
      "wakeport_connection_wait_seconds histogram service,start",
      "wakeport_connections_active gauge service",
      "wakeport_connections_denied_total counter service,reason",
      "wakeport_connections_total counter service,outcome",
      "wakeport_connections_waiting gauge service",
      "wakeport_datagrams_dropped_total counter service,reason",
      "wakeport_datagrams_total counter service,direction",
      "wakeport_engine_events_reconnects_total counter",
      "wakeport_engine_request_duration_seconds histogram operation",
      "wakeport_engine_requests_total counter operation,code",
      "wakeport_engine_up gauge",
      "wakeport_flows_active gauge service",
      "wakeport_idle_deadline_timestamp_seconds gauge service",
      "wakeport_last_activity_timestamp_seconds gauge service",
      "wakeport_service_state gauge service,state",
      "wakeport_sleep_duration_seconds histogram service",
      "wakeport_sleeps_total counter service,reason,action",
      "wakeport_target_running_seconds_total counter service",
      "wakeport_transferred_bytes_total counter service,direction",
      "wakeport_unrouted_total counter listener,reason",
    ]);
  });

  test("service_state is 1 for the current state and 0 for the others", async () => {
    const { metrics, gauges } = metricsOf();
    assert.equal(await seriesValue(metrics, `wakeport_service_state{service="a",state="asleep"}`), 1);
    gauges.current = { ...gauges.current, view: { ...asleep, state: "ready" } };
    assert.equal(await seriesValue(metrics, `wakeport_service_state{service="a",state="asleep"}`), 0);
    assert.equal(await seriesValue(metrics, `wakeport_service_state{service="a",state="ready"}`), 1);
  });

  test("counts connections by outcome and observes waits by start", async () => {
    const { metrics } = metricsOf();
    metrics.observer.connection(connection);
    metrics.observer.connection({ ...connection, outcome: "start_failed" });
    assert.equal(await seriesValue(metrics, `wakeport_connections_total{service="a",outcome="relayed"}`), 1);
    assert.equal(await seriesValue(metrics, `wakeport_connections_total{service="a",outcome="start_failed"}`), 1);
    assert.equal(
      await seriesValue(metrics, `wakeport_connection_wait_seconds_bucket{le="0.25",service="a",start="cold"}`),
      0,
    );
    assert.equal(
      await seriesValue(metrics, `wakeport_connection_wait_seconds_bucket{le="0.5",service="a",start="cold"}`),
      2,
    );
    assert.equal(await seriesValue(metrics, `wakeport_connection_duration_seconds_sum{service="a"}`), 0.9);
  });

  test("updates bytes and running time during a connection", async () => {
    const { metrics, gauges } = metricsOf();
    gauges.current = { ...gauges.current, meter: { in: 10, out: 20 }, view: { ...asleep, awakeMs: 1500 } };
    assert.equal(await seriesValue(metrics, `wakeport_transferred_bytes_total{service="a",direction="out"}`), 20);
    gauges.current = { ...gauges.current, meter: { in: 11, out: 25 } };
    assert.equal(await seriesValue(metrics, `wakeport_transferred_bytes_total{service="a",direction="in"}`), 11);
    assert.equal(await seriesValue(metrics, `wakeport_transferred_bytes_total{service="a",direction="out"}`), 25);
    assert.equal(await seriesValue(metrics, `wakeport_target_running_seconds_total{service="a"}`), 1.5);
  });

  test("counts datagrams only of services with UDP ports", async () => {
    const { metrics, gauges } = metricsOf();
    assert.equal(await seriesValue(metrics, `wakeport_flows_active{service="a"}`), undefined);
    const dropped = { ...noDatagrams().dropped, held: 3 };
    gauges.current = { ...gauges.current, udp: { flows: 2, in: 7, out: 5, dropped } };
    assert.equal(await seriesValue(metrics, `wakeport_flows_active{service="a"}`), 2);
    assert.equal(await seriesValue(metrics, `wakeport_datagrams_total{service="a",direction="in"}`), 7);
    assert.equal(await seriesValue(metrics, `wakeport_datagrams_dropped_total{service="a",reason="held"}`), 3);
    assert.equal(await seriesValue(metrics, `wakeport_datagrams_dropped_total{service="a",reason="denied"}`), 0);
  });

  test("has an idle deadline only while the target is idle", async () => {
    const { metrics, gauges } = metricsOf();
    const series = `wakeport_idle_deadline_timestamp_seconds{service="a"}`;
    assert.equal(await seriesValue(metrics, series), undefined);
    gauges.current = { ...gauges.current, view: { ...asleep, state: "ready", idleDeadline: 5000 } };
    assert.equal(await seriesValue(metrics, series), 5);
    gauges.current = { ...gauges.current, view: asleep };
    assert.equal(await seriesValue(metrics, series), undefined);
  });

  test("counts an activation for each service that shares the target", async () => {
    const { metrics } = metricsOf();
    metrics.addService("b", true);
    const report = {
      target: "t",
      services: ["a", "b"],
      outcome: "ready",
      adopted: false,
      durationMs: 400,
      startMs: 100,
    } as const;
    metrics.observer.activation(report);
    for (const service of ["a", "b"]) {
      assert.equal(await seriesValue(metrics, `wakeport_activations_total{service="${service}",outcome="ready"}`), 1);
      const phase = `wakeport_activation_phase_duration_seconds_sum{service="${service}",phase="readiness"}`;
      assert.ok(Math.abs(((await seriesValue(metrics, phase)) ?? 0) - 0.3) < 1e-9);
    }
  });

  test("observes the phases of a client that waited for a start", async () => {
    const { metrics } = metricsOf();
    metrics.addService("b", true);
    const wake = { acceptMs: 1, dialMs: 2, firstByteMs: 3 };
    metrics.observer.connection({ ...connection, service: "b", wake });
    for (const [phase, ms] of Object.entries({ accept: 1, dial: 2, first_byte: 3, start: 0, readiness: 0 })) {
      const sum = `wakeport_activation_phase_duration_seconds_sum{service="b",phase="${phase}"}`;
      assert.ok(Math.abs(((await seriesValue(metrics, sum)) ?? -1) - ms / 1_000) < 1e-9, phase);
    }
  });

  test("promtool accepts the metrics", async (t) => {
    if (spawnSync("promtool", ["--version"]).error !== undefined) {
      t.skip("promtool is not installed: test/engine/tools brings it");
      return;
    }
    const { metrics } = metricsOf();
    metrics.observer.connection(connection);
    metrics.observer.engineCall({ operation: "start", code: "2xx", durationMs: 5 });
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: await metrics.text() });
    assert.equal(status, 0, `${stdout}${stderr}`);
  });
});
