/** All metrics, with their names, help texts and labels. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ActivatorView } from "../activation/activator-view.ts";
import { stateNames } from "../activation/machine.ts";
import type { ActivationOutcome, SleepReason } from "../activation/reports.ts";
import { MAX_TIMER_MS } from "../async/wait.ts";
import type { Meter } from "../net/relay.ts";
import { denialReasons } from "../proxy/admission/denial.ts";
import type { ConnectionOutcome } from "../proxy/reports.ts";
import { unroutedReasons } from "../proxy/unrouted.ts";
import { type DatagramView, dropReasons } from "../udp/datagrams.ts";
import { EventLoopLag, type LagSummary } from "./event-loop-lag.ts";
import { type Observer, observer } from "./observer.ts";

/** From an unpaused container (10 ms) to a slow start (2 min). */
const START_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120];
/** Accept and dial take less than 1 ms on a quiet machine. */
const PHASE_BUCKETS = [0.001, 0.0025, 0.005, ...START_BUCKETS];
const CONNECTION_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400];
const SLEEP_BUCKETS = [0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60];
const ENGINE_BUCKETS = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30];

/** By the kernel: these connections are counted when they begin. */
const FORWARDED = "forwarded";
const connectionOutcomes: readonly (ConnectionOutcome | typeof FORWARDED)[] = [
  "relayed",
  FORWARDED,
  "served",
  "denied_address",
  "denied_time",
  "denied_rate",
  "denied_limit",
  "start_failed",
  "start_timeout",
  "dial_failed",
  "client_gone",
];
const activationOutcomes: readonly ActivationOutcome[] = [
  "ready",
  "timeout",
  "exited",
  "unhealthy",
  "engine_error",
  "cancelled",
];
const sleepReasons: readonly SleepReason[] = ["idle", "shutdown", "external", "crash"];

/** The summary of the event loop's lag. prom-client's own gauges sample it all the time. */
const LAG: readonly (keyof LagSummary)[] = ["min", "max", "mean", "stddev", "p50", "p90", "p99"];

/** Gauges of prom-client whose names end in _total. promtool rejects them, because _total is for counters. */
const MISNAMED = ["nodejs_active_handles_total", "nodejs_active_requests_total", "nodejs_active_resources_total"];

/** The values of one service at a scrape. */
export interface ServiceGauges {
  readonly service: string;
  /** Undefined if the service has no target to start. */
  readonly view: ActivatorView | undefined;
  readonly waiting: number;
  readonly active: number;
  readonly meter: Readonly<Meter>;
  /** Undefined for services without UDP ports. */
  readonly udp?: DatagramView | undefined;
}

/** Connections of one service that ended since wakeport started. */
export interface OutcomeCounts {
  /** By outcome; without outcomes that did not occur. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Denied connections by reason; without reasons that did not occur. */
  readonly denials: Readonly<Record<string, number>>;
}

export interface BuildInfo {
  readonly version: string;
  readonly revision: string;
  readonly nodeVersion: string;
}

export class Metrics {
  readonly observer: Observer;
  readonly #registry = new Registry();
  /** Called before each scrape. */
  readonly #reportLag: () => void;
  /** Services without series, by name. */
  readonly #addedServices = new Map<string, { readonly isWoken: boolean }>();
  readonly #connections = this.#counter("connections_total", "Accepted connections by outcome", ["service", "outcome"]);
  readonly #denials = this.#counter("connections_denied_total", "Denied connections by reason", ["service", "reason"]);
  readonly #unrouted = this.#counter("unrouted_total", "Clients that were not routed to a service, by reason", [
    "listener",
    "reason",
  ]);
  readonly #waits = this.#histogram(
    "connection_wait_seconds",
    "Time from accept to the connection with the target",
    START_BUCKETS,
    ["service", "start"],
  );
  readonly #durations = this.#histogram("connection_duration_seconds", "Time from accept to close", CONNECTION_BUCKETS);
  readonly #activations = this.#counter("activations_total", "Starts of targets by outcome", ["service", "outcome"]);
  readonly #activationTimes = this.#histogram(
    "activation_duration_seconds",
    "Time from asleep to ready",
    START_BUCKETS,
  );
  readonly #phases = this.#histogram(
    "activation_phase_duration_seconds",
    "Parts of an activation, in their order: accept, start, readiness, dial, first_byte",
    PHASE_BUCKETS,
    ["service", "phase"],
  );
  readonly #sleeps = this.#counter(
    "sleeps_total",
    "Number of times targets were put to sleep or went down, by reason and action",
    ["service", "reason", "action"],
  );
  readonly #sleepTimes = this.#histogram(
    "sleep_duration_seconds",
    "Duration of stopping or pausing a target",
    SLEEP_BUCKETS,
  );
  readonly #engineCalls = this.#counter("engine_requests_total", "Requests to the engine by status of the response", [
    "operation",
    "code",
  ]);
  readonly #engineTimes = this.#histogram(
    "engine_request_duration_seconds",
    "Duration of requests to the engine",
    ENGINE_BUCKETS,
    ["operation"],
  );
  /** Created by `addEngine`, because a gauge without labels starts at 0. */
  #engineUp: Gauge | undefined;
  readonly #reconnects = this.#counter("engine_events_reconnects_total", "Reconnects of the engine's event stream", []);

  readonly #reloads = this.#counter("config_reloads_total", "Reloads of the configuration by result", ["result"]);
  readonly #loaded = this.#gauge("config_last_reload_successful", "Whether the last reload succeeded", []);
  readonly #loadedAt = this.#gauge(
    "config_last_reload_success_timestamp_seconds",
    "When the current configuration was loaded",
    [],
  );

  /** @param services all services, read at each scrape */
  constructor(build: BuildInfo, services: () => readonly ServiceGauges[]) {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: MAX_TIMER_MS });
    for (const name of [...MISNAMED, ...LAG.map(lagName)]) this.#registry.removeSingleMetric(name);
    this.#reportLag = this.#lagReport(services);
    this.#build(build);
    this.#states(services);
    this.#clients(services);
    this.#datagrams(services);
    this.#times(services);
    this.observer = this.#observe();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text format of Prometheus, 0.0.4. */
  async text(): Promise<string> {
    for (const service of this.#addedServices.keys()) this.#createSeries(service);
    this.#reportLag();
    return this.#registry.metrics();
  }

  /** Returns the counts of a service; all are empty if the service is unknown. */
  async outcomesOf(service: string): Promise<OutcomeCounts> {
    return {
      outcomes: await countsOf(this.#connections, service, "outcome"),
      denials: await countsOf(this.#denials, service, "reason"),
    };
  }

  /** Adds a service. Its series are created with value 0 when they are first needed, because they take 20 KB. */
  addService(service: string, isWoken: boolean): void {
    this.#addedServices.set(service, { isWoken });
  }

  /** Creates the series of a service, unless they exist. Series of starts and sleeps exist only for woken targets. */
  #createSeries(service: string): void {
    const added = this.#addedServices.get(service);
    if (added === undefined) return;
    this.#addedServices.delete(service);
    for (const outcome of connectionOutcomes) this.#connections.inc({ service, outcome }, 0);
    for (const reason of denialReasons) this.#denials.inc({ service, reason }, 0);
    this.#waits.zero({ service, start: "warm" });
    this.#durations.zero({ service });
    if (!added.isWoken) return;
    this.#waits.zero({ service, start: "cold" });
    for (const outcome of activationOutcomes) this.#activations.inc({ service, outcome }, 0);
    for (const reason of sleepReasons) this.#sleeps.inc({ service, reason, action: actionOf(reason) }, 0);
    for (const phase of ["accept", "start", "readiness", "dial", "first_byte"]) this.#phases.zero({ service, phase });
    for (const histogram of [this.#activationTimes, this.#sleepTimes]) histogram.zero({ service });
  }

  /** Creates the series of a listener that routes clients by name. */
  addListener(listener: string): void {
    for (const reason of unroutedReasons) this.#unrouted.inc({ listener, reason }, 0);
  }

  /** Creates the series of the engine. */
  addEngine(): void {
    this.#engineUp = this.#gauge("engine_up", "Whether the engine answers", []);
  }

  #observe(): Observer {
    return observer({
      connection: ({ service, outcome, reason, start, waitMs, wake, durationMs, end }) => {
        this.#createSeries(service);
        this.#connections.inc({ service, outcome });
        if (reason !== undefined) this.#denials.inc({ service, reason });
        if (waitMs !== undefined) this.#waits.observe({ service, start }, waitMs / 1000);
        if (wake !== undefined) {
          this.#phases.observe({ service, phase: "accept" }, wake.acceptMs / 1000);
          this.#phases.observe({ service, phase: "dial" }, wake.dialMs / 1000);
          this.#phases.observe({ service, phase: "first_byte" }, wake.firstByteMs / 1000);
        }
        const isServed = outcome === "relayed" || outcome === "served";
        if (isServed && end !== "probe") this.#durations.observe({ service }, durationMs / 1000);
      },
      forwarded: ({ service, connections }) => this.#connections.inc({ service, outcome: FORWARDED }, connections),
      unrouted: ({ listener, error }) => this.#unrouted.inc({ listener, reason: error.reason }),
      activation: ({ services, outcome, durationMs, startMs }) => {
        for (const service of services) {
          this.#createSeries(service);
          this.#activations.inc({ service, outcome });
          if (outcome !== "ready") continue;
          this.#activationTimes.observe({ service }, durationMs / 1000);
          if (startMs === undefined) continue;
          this.#phases.observe({ service, phase: "start" }, startMs / 1000);
          this.#phases.observe({ service, phase: "readiness" }, (durationMs - startMs) / 1000);
        }
      },
      sleep: ({ services, reason, action, durationMs }) => {
        for (const service of services) {
          this.#createSeries(service);
          this.#sleeps.inc({ service, reason, action });
          if (action !== "none") this.#sleepTimes.observe({ service }, durationMs / 1000);
        }
      },
      engineCall: ({ operation, code, durationMs }) => {
        this.#engineCalls.inc({ operation, code });
        this.#engineTimes.observe({ operation }, durationMs / 1000);
      },
      engineUp: () => this.#engineUp?.set(1),
      engineDown: () => this.#engineUp?.set(0),
      eventsReconnected: () => this.#reconnects.inc(),
      reload: ({ outcome }) => {
        this.#reloads.inc({ result: outcome });
        this.#loaded.set(outcome === "success" ? 1 : 0);
        if (outcome === "success") this.#loadedAt.setToCurrentTime();
      },
    });
  }

  #build({ version, revision, nodeVersion }: BuildInfo): void {
    const labels = { version, revision, node_version: nodeVersion };
    this.#gauge("build_info", "Versions of the running program", Object.keys(labels)).set(labels, 1);
    this.#loaded.set(1);
    this.#loadedAt.setToCurrentTime();
    for (const result of ["success", "failure"]) this.#reloads.inc({ result }, 0);
  }

  /** Creates gauges of the event loop's lag. They have values if a service was in use at the previous scrape. */
  #lagReport(services: () => readonly ServiceGauges[]): () => void {
    const lag = new EventLoopLag();
    const registers = [this.#registry];
    const gauges = LAG.map((part) => {
      const help = `Lag of the event loop in seconds since the previous scrape, while services are in use: ${part}`;
      return { part, gauge: new Gauge({ name: lagName(part), help, registers }) };
    });
    return () => {
      const summary = lag.next(services().some(isInUse));
      for (const { part, gauge } of gauges) summary === undefined ? gauge.remove() : gauge.set(summary[part]);
    };
  }

  #states(services: () => readonly ServiceGauges[]): void {
    this.#collectedGauge(
      "service_state",
      "1 for the current state of the target, else 0",
      ["service", "state"],
      (gauge) => {
        for (const { service, view } of services()) {
          if (view === undefined) continue;
          for (const state of stateNames) gauge.set({ service, state }, view.state === state ? 1 : 0);
        }
      },
    );
  }

  #clients(services: () => readonly ServiceGauges[]): void {
    this.#collectedGauge("connections_active", "Connections that are served now", ["service"], (gauge) => {
      for (const { service, active } of services()) gauge.set({ service }, active);
    });
    this.#collectedGauge("connections_waiting", "Clients that wait for their target now", ["service"], (gauge) => {
      for (const { service, waiting } of services()) gauge.set({ service }, waiting);
    });
    this.#collectedCounter(
      "transferred_bytes_total",
      "Relayed bytes; direction in: from clients",
      ["service", "direction"],
      () =>
        services().flatMap(({ service, meter }) => [
          { labels: { service, direction: "in" }, value: meter.in },
          { labels: { service, direction: "out" }, value: meter.out },
        ]),
    );
  }

  #datagrams(services: () => readonly ServiceGauges[]): void {
    const live = (): WithDatagrams[] => services().filter(hasDatagrams);
    this.#collectedGauge("flows_active", "Current clients of UDP ports", ["service"], (gauge) => {
      gauge.reset();
      for (const { service, udp } of live()) gauge.set({ service }, udp.flows);
    });
    const help = "Datagrams; in: from clients, including dropped ones; out: from targets";
    this.#collectedCounter("datagrams_total", help, ["service", "direction"], () =>
      live().flatMap(({ service, udp }) => [
        { labels: { service, direction: "in" }, value: udp.in },
        { labels: { service, direction: "out" }, value: udp.out },
      ]),
    );
    this.#collectedCounter("datagrams_dropped_total", "Dropped datagrams by reason", ["service", "reason"], () =>
      live().flatMap(({ service, udp }) => {
        const dropped = udp.dropped;
        return dropReasons.map((reason) => ({ labels: { service, reason }, value: dropped[reason] }));
      }),
    );
  }

  #times(services: () => readonly ServiceGauges[]): void {
    this.#collectedCounter("target_running_seconds_total", "Time that targets were awake", ["service"], () =>
      services().flatMap(({ service, view }) =>
        view === undefined ? [] : { labels: { service }, value: view.awakeMs / 1000 },
      ),
    );
    this.#collectedGauge(
      "idle_deadline_timestamp_seconds",
      "When the idle timeout of the target ends",
      ["service"],
      (gauge) => {
        gauge.reset();
        for (const { service, view } of services()) {
          if (view?.idleDeadline !== undefined) gauge.set({ service }, view.idleDeadline / 1000);
        }
      },
    );
    this.#collectedGauge(
      "last_activity_timestamp_seconds",
      "When a connection last began or ended",
      ["service"],
      (gauge) => {
        gauge.reset();
        for (const { service, view } of services()) {
          if (view?.lastActivity !== undefined) gauge.set({ service }, view.lastActivity / 1000);
        }
      },
    );
  }

  #counter(name: string, help: string, labelNames: readonly string[]): Counter {
    return new Counter({ name: `wakeport_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: readonly string[]): Gauge {
    return new Gauge({ name: `wakeport_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #histogram(name: string, help: string, buckets: number[], labelNames: readonly string[] = ["service"]): Histogram {
    const registers = [this.#registry];
    return new Histogram({ name: `wakeport_${name}`, help, labelNames: [...labelNames], buckets, registers });
  }

  /** Creates a gauge whose values are collected at each scrape. */
  #collectedGauge(name: string, help: string, labelNames: readonly string[], collect: (gauge: Gauge) => void): void {
    const registers = [this.#registry];
    new Gauge({
      name: `wakeport_${name}`,
      help,
      labelNames: [...labelNames],
      registers,
      collect() {
        collect(this);
      },
    });
  }

  /** Creates a counter that is updated at each scrape from totals that are counted elsewhere. */
  #collectedCounter(
    name: string,
    help: string,
    labelNames: readonly string[],
    totals: () => readonly { readonly labels: Record<string, string>; readonly value: number }[],
  ): void {
    const seen = new Map<string, number>();
    const registers = [this.#registry];
    new Counter({
      name: `wakeport_${name}`,
      help,
      labelNames: [...labelNames],
      registers,
      collect() {
        for (const { labels, value } of totals()) {
          const key = JSON.stringify(labels);
          const before = seen.get(key) ?? 0;
          // A service of labels that is removed and added again restarts its total at 0.
          this.inc(labels, value < before ? value : value - before);
          seen.set(key, value);
        }
      },
    });
  }
}

function lagName(part: keyof LagSummary): string {
  return `nodejs_eventloop_lag_${part}_seconds`;
}

function isInUse({ view, active, waiting }: ServiceGauges): boolean {
  return active + waiting > 0 || (view !== undefined && view.state !== "asleep" && view.state !== "paused");
}

type WithDatagrams = ServiceGauges & { readonly udp: NonNullable<ServiceGauges["udp"]> };

function hasDatagrams(service: ServiceGauges): service is WithDatagrams {
  return service.udp !== undefined;
}

/** Returns the values of a service's series that are not 0, by the value of `label`. */
async function countsOf(counter: Counter, service: string, label: string): Promise<Record<string, number>> {
  const { values } = await counter.get();
  const own = values.filter(({ labels, value }) => labels["service"] === service && value > 0);
  return Object.fromEntries(own.map(({ labels, value }) => [String(labels[label]), value]));
}

function actionOf(reason: SleepReason): "stop" | "none" {
  return reason === "idle" || reason === "shutdown" ? "stop" : "none";
}
