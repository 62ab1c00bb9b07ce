/** The requests that the admin server accepts, sent over real sockets. */
import assert from "node:assert/strict";
import net from "node:net";
import { hostname } from "node:os";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { AdminServer } from "../../src/admin/server.ts";

/** Opens an admin server and closes it after `body`. */
async function withAdmin(body: (ask: (head: string) => Promise<string>) => Promise<void>): Promise<void> {
  const server = new AdminServer({
    host: "127.0.0.1",
    port: 0,
    allowedHosts: () => ["wakeport.example.com", "*.corp.example"],
    metrics: {
      contentType: "text/plain",
      text: async () => "some_metric 1\n",
      outcomesOf: async () => ({ outcomes: {}, denials: {} }),
    },
    status: () => ({ version: "1", services: [] }),
    open: () => [],
    notReady: () => undefined,
  });
  await server.open();
  try {
    await body(async (head) => {
      const socket = net.connect(server.port, "127.0.0.1");
      socket.write(`${head.replaceAll("\n", "\r\n")}\r\n\r\n`);
      return text(socket);
    });
  } finally {
    await server.close();
  }
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
}

const hosts: Readonly<Record<string, number>> = {
  "127.0.0.1:9464": 200,
  "192.0.2.1": 200,
  "[::1]:9464": 200,
  "localhost:9464": 200,
  LOCALHOST: 200,
  "wakeport:9464": 200,
  "wakeport.:9464": 200,
  "admin.localhost": 200,
  "host.docker.internal:9464": 200,
  [hostname()]: 200,
  "wakeport.example.com": 200,
  "Wakeport.Example.com.:443": 200,
  "a.corp.example": 200,
  "corp.example": 421,
  "rebound.example.org:9464": 421,
  "127.0.0.1.example.org": 421,
  "example.localhost.org": 421,
  "localhost.example.org": 421,
  "2130706433.example": 421,
  "user@127.0.0.1": 400,
  "127.0.0.1:9464/x": 400,
  "a b": 400,
};

suite("the Host of a request to the admin server", () => {
  for (const [host, status] of Object.entries(hosts)) {
    test(`"${host}" gets ${status}`, async () => {
      await withAdmin(async (ask) => {
        for (const path of ["/metrics", "/healthz", "/readyz", "/api/v1/services"]) {
          assert.equal(statusOf(await ask(`GET ${path} HTTP/1.1\nHost: ${host}\nConnection: close`)), status, path);
        }
      });
    });
  }

  test("appears with the remedy in the rejection", async () => {
    await withAdmin(async (ask) => {
      const answer = await ask("GET /metrics HTTP/1.1\nHost: rebound.example.org\nConnection: close");
      assert.match(answer, /the host "rebound.example.org" is not allowed: add it to admin.allowed_hosts$/m);
      assert.doesNotMatch(answer, /some_metric/);
    });
  });

  test("may be absent with HTTP/1.0, which no browser uses", async () => {
    await withAdmin(async (ask) => assert.equal(statusOf(await ask("GET /metrics HTTP/1.0")), 200));
  });

  test("is parsed as a proxied server parses it", async () => {
    await withAdmin(async (ask) => {
      const close = "Connection: close";
      const twice = `GET /metrics HTTP/1.1\nHost: localhost\nHost: rebound.example.org\n${close}`;
      assert.equal(statusOf(await ask(twice)), 400);
      const absolute = `GET http://rebound.example.org/metrics HTTP/1.1\nHost: localhost\n${close}`;
      assert.equal(statusOf(await ask(absolute)), 421);
    });
  });
});

/** The fields that a browser sends besides Host: localhost:9464. */
const origins: readonly (readonly [fields: string, status: number])[] = [
  ["Accept: */*", 200],
  ["Origin: http://localhost:9464", 200],
  ["Origin: http://localhost:3000", 403],
  ["Origin: https://rebound.example.org", 403],
  ["Origin: null", 403],
  ["Sec-Fetch-Site: none\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200],
  ["Sec-Fetch-Site: same-origin\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", 200],
  ["Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", 200],
  ["Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", 403],
  ["Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: script", 403],
  ["Sec-Fetch-Site: same-site\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", 403],
];

suite("the origin of a request to the admin server", () => {
  for (const [fields, status] of origins) {
    test(`${fields.replaceAll("\n", ", ")} gets ${status}`, async () => {
      await withAdmin(async (ask) => {
        const head = `GET /api/v1/services HTTP/1.1\nHost: localhost:9464\nConnection: close\n${fields}`;
        assert.equal(statusOf(await ask(head)), status);
      });
    });
  }
});

test("responses have headers against rendering, framing and sharing by a browser", async () => {
  await withAdmin(async (ask) => {
    for (const host of ["localhost", "rebound.example.org"]) {
      const answer = await ask(`GET /metrics HTTP/1.1\nHost: ${host}\nConnection: close`);
      assert.match(answer, /^x-content-type-options: nosniff\r$/im);
      assert.match(answer, /^content-security-policy: default-src 'none'; frame-ancestors 'none'\r$/im);
      assert.match(answer, /^x-frame-options: DENY\r$/im);
      assert.match(answer, /^cross-origin-resource-policy: same-origin\r$/im);
    }
  });
});
