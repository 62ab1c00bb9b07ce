/** The requests that the socket proxy of compose/hardened allows: exact methods, paths, parameters and bodies. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { engineTest } from "../support/engine/lab.ts";
import { cannotProxy, NarrowProxy } from "../support/engine/narrow-proxy.ts";

/** ID stands for the id of a stopped container, NAME for its name. */
const allowed: Readonly<Record<string, number>> = {
  "GET /_ping": 200,
  "HEAD /_ping": 200,
  "GET /v1.41/_ping": 200,
  "GET /version": 200,
  "GET /v1.24/version": 200,
  "GET /containers/json": 200,
  "GET /containers/json?all=true&filters=%7B%7D": 200,
  "GET /containers/ID/json": 200,
  "GET /v1.41/containers/NAME/json": 200,
  "GET /containers/ID/stats?stream=false&one-shot=true": 200,
  "GET /containers/ID/stats?stream=false": 200,
  "GET /events?since=1&until=2": 200,
  "POST /containers/ID/stop": 304,
  "POST /containers/ID/stop?t=5": 304,
  "POST /v1.41/containers/unknown/start": 404,
  "POST /v1.41/containers/unknown/pause": 404,
  "POST /containers/unknown/unpause": 404,
};

const refused: readonly string[] = [
  "GET /",
  "GET /info",
  "GET /containers/ID/archive?path=/etc/shadow",
  "HEAD /containers/ID/archive?path=/etc/shadow",
  "PUT /containers/ID/archive?path=/",
  "GET /containers/ID/export",
  "GET /containers/ID/attach/ws?stream=1",
  "POST /containers/ID/attach?stream=1",
  "GET /containers/ID/logs?stdout=1",
  "GET /containers/ID/top",
  "GET /containers/ID/changes",
  "GET /containers/ID/stats",
  "GET /containers/ID/stats?stream=true",
  "GET /containers/ID/stats?stream=false&stream=true",
  "GET /containers/ID/json?size=1",
  "GET /containers/ID/json/",
  "GET /containers//json",
  "GET /containers/../json",
  "GET /containers/ID/../ID/json",
  "GET /containers/ID%2farchive/json",
  "GET /containers/ID/archive/json",
  "GET /x/containers/json",
  "GET /v1.41/v1.41/containers/json",
  "GET /v1.23/containers/json",
  "GET /v1.9/containers/json",
  "GET /v2/containers/json",
  "GET /volumes",
  "GET /images/json",
  "GET /networks",
  "GET /secrets",
  "GET /exec/ID/json",
  "GET /containers/ID/start",
  "POST /containers/ID/json",
  "POST /containers/json",
  "POST /_ping",
  "PUT /containers/ID/start",
  "POST /containers/ID/start?checkpoint=x&checkpoint-dir=/",
  "POST /v1.23/containers/ID/start",
  "POST /v1.0/containers/ID/start",
  "POST /containers/ID/start/../exec",
  "POST /containers/ID/stop?signal=KILL",
  "POST /containers/ID/stop?t=5&x=1",
  "POST /containers/ID/kill",
  "POST /containers/ID/restart",
  "POST /containers/ID/exec",
  "POST /containers/ID/update",
  "POST /containers/ID/rename?name=evil",
  "POST /containers/ID/resize",
  "POST /containers/ID/wait",
  "POST /containers/create",
  "POST /v1.41/containers/create?name=evil",
  "POST /containers/create/start/x",
  "POST /containers/prune",
  "DELETE /containers/ID",
  "DELETE /v1.41/containers/ID?force=1",
  "POST /images/create?fromImage=evil",
  "POST /build",
  "POST /commit?container=ID",
  "POST /auth",
  "POST /session",
  "POST /grpc",
  "POST /swarm/init",
  "OPTIONS /containers/json",
  "CONNECT containers:80",
];

/** Fields and bodies that change the meaning of an allowed request. */
const disguised: readonly (readonly [request: string, fields: string, body: string])[] = [
  ["POST /containers/ID/start", "Content-Type: application/json\r\nContent-Length: 19", '{"Privileged":true}'],
  ["POST /containers/ID/start", "Transfer-Encoding: chunked", '13\r\n{"Privileged":true}\r\n0\r\n\r\n'],
  ["POST /containers/ID/stop?t=5", "Content-Length: 65", "x".repeat(65)],
  ["POST /containers/ID/pause", "Content-Length: 2", "{}"],
  ["GET /containers/json", "Content-Length: 2", "{}"],
  ["GET /containers/ID/json", "Connection: upgrade\r\nUpgrade: tcp", ""],
  ["POST /containers/ID/start", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==", ""],
];

async function statusOf(proxy: NarrowProxy, request: string, fields = "", body = ""): Promise<number> {
  const socket = net.connect({ path: proxy.host.replace("unix://", "") });
  await once(socket, "connect");
  const lines = [`${request} HTTP/1.1`, "Host: docker", "Connection: close", ...(fields === "" ? [] : [fields])];
  socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  return Number(/^HTTP\/1\.1 (\d+)/.exec(await text(socket))?.[1]);
}

if (cannotProxy !== false) test("the socket proxy of compose/hardened", { skip: cannotProxy }, () => {});
else {
  engineTest("the socket proxy of compose/hardened allows the requests of wakeport only", async (lab) => {
    await using proxy = await NarrowProxy.open();
    const target = await lab.container({ command: ["true"] });
    const real = (request: string): string => request.replaceAll("ID", target.id).replaceAll("NAME", target.name);
    for (const [request, status] of Object.entries(allowed)) {
      assert.equal(await statusOf(proxy, real(request)), status, request);
    }
    const plain = refused.map((request) => [request, "", ""] as const);
    for (const [request, fields, body] of [...plain, ...disguised]) {
      const status = await statusOf(proxy, real(request), fields, body);
      // haproxy itself rejects some of them as malformed.
      assert.ok(status === 403 || status === 400, `${request} ${fields}: ${status}`);
    }
    const { HostConfig, State } = await lab.engine.docker.getContainer(target.id).inspect();
    assert.deepEqual([HostConfig.Privileged, State.Status], [false, "created"]);
    assert.equal(await statusOf(proxy, real("POST /containers/ID/start")), 204);
  });
}
