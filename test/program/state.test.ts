/** What `wakeport run` logs on SIGUSR2, and the details that the API returns of one service. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { suite, test } from "node:test";
import type { ServiceDetails, StatusReport } from "../../src/admin/api.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly echo: number;
  readonly slow: number;
  readonly admin: number;
}

/** A wakeport with a builtin and a process that is never ready. */
async function start(format: string): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [echo, slow, admin, upstream] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const file = stack.use(
    await temporaryFile(
      "wakeport.yaml",
      `admin: { listen: "127.0.0.1:${admin}" }
log: { format: ${format} }
shutdown: { drain: 0s }
services:
  echo: { ports: ["127.0.0.1:${echo}"], builtin: echo, }
  slow: { ports: ["127.0.0.1:${slow}:${upstream}"], process: { command: [sleep, "60"] }, start_timeout: 10m }
  off: { ports: ["127.0.0.1:${upstream}"], forward: "127.0.0.1:9", enabled: false }\n`,
    ),
  );
  const program = stack.use(new Program(["run", "-c", file.path]));
  await eventually("wakeport has started", () => /serves|admin http/.test(program.stdout));
  const owned = stack.move();
  return { program, echo, slow, admin, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function connected(port: number): Promise<net.Socket & Disposable> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  await once(socket, "connect");
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
}

async function api(admin: number, path: string): Promise<unknown> {
  return (await fetch(`http://127.0.0.1:${admin}/api/v1/${path}`)).json();
}

async function details({ admin }: Pick<Bench, "admin">, service: string): Promise<ServiceDetails> {
  return (await api(admin, `services/${service}`)) as ServiceDetails;
}

/** One served client and one waiting client. */
async function clients(bench: Bench): Promise<{ readonly served: string; readonly waiting: string } & Disposable> {
  const stack = new DisposableStack();
  const served = stack.use(await connected(bench.echo));
  const waiting = stack.use(await connected(bench.slow));
  await eventually("one client is waiting", async () => (await details(bench, "slow")).open.length === 1);
  await eventually("one client is served", async () => (await details(bench, "echo")).open[0]?.state === "served");
  // The last changes of the report: the target is probed, and the thread of the data plane is up.
  await eventually("the state is settled", async () => {
    const { services, data_plane } = (await api(bench.admin, "services")) as StatusReport;
    return data_plane?.state === "up" && services.some(({ pending = [] }) => pending.length > 0);
  });
  return {
    served: `127.0.0.1:${served.localPort}`,
    waiting: `127.0.0.1:${waiting.localPort}`,
    [Symbol.dispose]: () => stack.dispose(),
  };
}

suite("SIGUSR2", () => {
  test("logs the report of /api/v1/services as one JSON record", async () => {
    await using bench = await start("json");
    using _two = await clients(bench);
    bench.program.child.kill("SIGUSR2");
    const { level: _level, time: _time, event: _event, msg: _msg, ...report } = await bench.program.logged("state");
    assert.deepEqual(report, await api(bench.admin, "services"));
  });

  for (const format of ["xinetd", "pretty"]) {
    test(`logs the report as one line of JSON in the format ${format}`, async () => {
      await using bench = await start(format);
      using _two = await clients(bench);
      bench.program.child.kill("SIGUSR2");
      const line = /INFO: status: (\{.*\})\n/;
      await eventually("the status is logged", () => line.test(bench.program.stdout));
      const [, json = ""] = line.exec(bench.program.stdout) ?? [];
      assert.deepEqual(JSON.parse(json), await api(bench.admin, "services"));
    });
  }
});

suite("/api/v1/services/NAME", () => {
  test("lists the open connections with their client, state and begin", async () => {
    await using bench = await start("json");
    (await connected(bench.echo)).destroy();
    await bench.program.logged("connection.closed");
    using two = await clients(bench);
    const [echo, slow] = [await details(bench, "echo"), await details(bench, "slow")];
    assert.deepEqual([echo.state, echo.connections, echo.outcomes], ["listening", 1, { served: 1 }]);
    assert.deepEqual([slow.state, slow.waiting, slow.outcomes], ["starting", 1, {}]);
    assert.match(slow.cause ?? "", new RegExp(`^woken by ${two.waiting} through `));
    assert.equal(echo.open[0]?.client, two.served);
    const [open] = slow.open;
    assert.deepEqual([open?.client, open?.state], [two.waiting, "waiting"]);
    assert.ok(Date.now() - Date.parse(open?.since ?? "") < 60_000);
    const starting = await bench.program.logged("target.starting");
    assert.deepEqual([starting["client"], starting["service"]], [two.waiting, "slow"]);
  });

  test("lists at most a thousand connections, and wakeport serves new clients meanwhile", async () => {
    await using bench = await start("json");
    using stack = new DisposableStack();
    for (let batch = 0; batch < 20; batch += 1) {
      for (const socket of await Promise.all(Array.from({ length: 100 }, () => connected(bench.echo))))
        stack.use(socket);
    }
    await eventually("two thousand clients", async () => (await details(bench, "echo")).connections === 2_000);
    assert.equal((await details(bench, "echo")).open.length, 1_000);
    bench.program.child.kill("SIGUSR2");
    const last = await connected(bench.echo);
    last.end("served");
    assert.equal(String((await once(last, "data"))[0]), "served");
    const [echo] = (await bench.program.logged("state"))["services"] as ServiceDetails[];
    // The last client may connect before or after the report.
    assert.ok(echo?.connections === 2_000 || echo?.connections === 2_001);
  });

  test("contains the process of a client that an inetd program serves", async () => {
    const [cat, admin] = [await freePort(), await freePort()];
    const text = `admin: { listen: "127.0.0.1:${admin}" }
services: { cat: { ports: ["127.0.0.1:${cat}"], inetd: { command: [/bin/cat] } } }\n`;
    await using file = await temporaryFile("wakeport.yaml", text);
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    using client = await connected(cat);
    client.write("words");
    await once(client, "data");
    const { open } = await details({ admin }, "cat");
    client.end();
    const { pid } = await program.logged("connection.closed");
    assert.equal(typeof pid, "number");
    assert.equal(open[0]?.pid, pid);
  });
});
