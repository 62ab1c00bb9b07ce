/** Readiness in each protocol. test/e2e/cold-starts.test.ts tests real servers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import tls from "node:tls";
import type { ProbedProtocol } from "../../src/config/config.ts";
import { errPacket } from "../../src/proxy/protocols/mysql.ts";
import { errorResponse } from "../../src/proxy/protocols/postgres.ts";
import { protocolProbe } from "../../src/readiness/protocol.ts";
import { Authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Peer, PeerServer } from "../support/net/tcp.ts";
import { Running } from "../support/readiness/running.ts";

checkLeaks();

/** A server that sends each of these answers on one connection, in order. */
async function answering(answers: readonly (Buffer | string)[], clientFirst: boolean): Promise<PeerServer> {
  const left = [...answers];
  return PeerServer.open({
    onPeer: (peer) => {
      const answer = left.shift();
      if (answer === undefined) return;
      if (clientFirst) peer.socket.once("data", () => peer.send(answer));
      else peer.send(answer);
    },
  });
}

/** How many connections it takes until the last answer counts as ready. */
async function attempts(protocol: ProbedProtocol, answers: readonly (Buffer | string)[]): Promise<number> {
  await using server = await answering(answers, protocol === "redis" || protocol === "postgres");
  assert.equal(await new Running(protocolProbe(server.port, protocol)).result(), "ready");
  return server.peers.length;
}

/** Returns the error of an aborted start after the server sent that answer. */
async function reported(protocol: ProbedProtocol, answer: Buffer | string): Promise<string> {
  await using server = await answering([answer, answer], protocol === "redis" || protocol === "postgres");
  const probe = new Running(protocolProbe(server.port, protocol));
  await eventually("the second attempt", () => server.peers.length > 1);
  return probe.timeOut();
}

suite("protocolProbe() of redis", () => {
  test("sends PING, and is ready after +PONG", async () => {
    await using server = await answering(["+PONG\r\n"], true);
    assert.equal(await new Running(protocolProbe(server.port, "redis")).result(), "ready");
    const peer = await server.accepted();
    assert.equal(await peer.ended(), "ended");
    assert.equal(peer.text, "*1\r\n$4\r\nPING\r\n");
  });

  test("is not ready while the server loads its data, or has no data of its master", async () => {
    const loading = "-LOADING Redis is loading the dataset in memory\r\n";
    const down = "-MASTERDOWN Link with MASTER is down\r\n";
    assert.equal(await attempts("redis", [loading, down, loading, "+PONG\r\n"]), 4);
    assert.match(
      await reported("redis", loading),
      /answers PING with "-LOADING Redis is loading the dataset in memory"/,
    );
  });

  for (const error of [
    "NOAUTH Authentication required.",
    "NOPERM no permissions",
    "DENIED protected mode",
    "BUSY script",
  ]) {
    test(`is ready after -${error}`, async () => assert.equal(await attempts("redis", [`-${error}\r\n`]), 1));
  }

  for (const clientCertificate of [false, true]) {
    const how = clientCertificate ? "that demands a client certificate" : "that loads and then answers";
    test(`checks a TLS server ${how}`, async () => {
      const answers = ["-LOADING wait\r\n", "+PONG\r\n"];
      using authority = new Authority();
      const folder = authority.issue({ names: "IP:127.0.0.1" });
      const [key, cert] = ["key.pem", "cert.pem"].map((name) => readFileSync(path.join(folder, name)));
      const options = { key, cert, requestCert: clientCertificate, ca: [readFileSync(authority.certificate)] };
      const server = tls.createServer(options, (socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.end(answers.shift() ?? ""));
      });
      server.on("tlsClientError", () => {});
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { readonly port: number };
      assert.equal(await new Running(protocolProbe(port, "redis")).result(), "ready");
      assert.equal(answers.length, clientCertificate ? 2 : 0);
      await new Promise((resolve) => server.close(resolve));
    });
  }

  test("is not ready if the server closes the connection without an answer", async () => {
    let visits = 0;
    await using server = await PeerServer.open({
      onPeer: (peer) => {
        visits += 1;
        peer.socket.once("data", () => peer.end(visits < 5 ? "" : "+PONG\r\n"));
      },
    });
    assert.equal(await new Running(protocolProbe(server.port, "redis")).result(), "ready");
    assert.equal(visits, 5);
  });
});

suite("protocolProbe() of postgres", () => {
  const password = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 5]);
  const session = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);

  test("is ready when the server requests a password, and closes without another message", async () => {
    await using server = await answering([password], true);
    assert.equal(await new Running(protocolProbe(server.port, "postgres")).result(), "ready");
    const peer = await server.accepted();
    assert.equal(await peer.ended(), "ended");
    assert.equal(peer.data.readUInt32BE(0), peer.received);
    assert.equal(peer.data.readUInt32BE(4), 0x0003_0000);
    assert.equal(peer.text.slice(8), "user\0postgres\0database\0postgres\0application_name\0wakeport\0\0");
  });

  test("terminates a session that needed no password", async () => {
    await using server = await answering([session], true);
    assert.equal(await new Running(protocolProbe(server.port, "postgres")).result(), "ready");
    const peer = await server.accepted();
    await peer.ended();
    assert.deepEqual([...peer.data.subarray(-5)], [0x58, 0, 0, 0, 4]);
  });

  test("is not ready while the server starts, and ready after any other error", async () => {
    const starting = errorResponse("57P03", "the database system is starting up");
    const refused = errorResponse("28000", 'role "postgres" does not exist');
    assert.equal(await attempts("postgres", [starting, starting, refused]), 3);
    assert.match(await reported("postgres", starting), /answers "the database system is starting up" \(57P03\)/);
  });

  test("is ready after a TLS alert, and not after an answer of another protocol", async () => {
    assert.equal(await attempts("postgres", [Buffer.from([0x15, 3, 1, 0, 2, 2, 70])]), 1);
    assert.match(await reported("postgres", "HTTP/1.1 400 Bad Request\r\n"), /as PostgreSQL does/);
  });
});

suite("protocolProbe() of mysql", () => {
  const handshake = packet(0, Buffer.from("\x0a8.4.0\0abcdefgh\0", "latin1"));

  test("is ready after the handshake, and finishes the login, so that it is not a connection error", async () => {
    const denied = Buffer.from("\xff\x15\x04#28000Access denied", "latin1");
    await using server = await PeerServer.open({
      onPeer: (peer) => {
        peer.send(handshake);
        peer.socket.once("data", () => {
          peer.send(packet(2, Buffer.from("\xfecaching_sha2_password\0salt\0", "latin1")));
          peer.socket.once("data", () => peer.end(packet(4, denied)));
        });
      },
    });
    assert.equal(await new Running(protocolProbe(server.port, "mysql")).result(), "ready");
    const peer = await server.accepted();
    assert.equal(await peer.ended(), "ended");
    const length = peer.data.readUIntLE(0, 3);
    assert.deepEqual([peer.data[3], peer.data.subarray(36, 45).toString()], [1, "wakeport\0"]);
    assert.deepEqual([...peer.data.subarray(4 + length)], [0, 0, 0, 3]);
  });

  test("quits a session that needed no password", async () => {
    await using server = await PeerServer.open({
      onPeer: (peer) => {
        peer.send(handshake);
        peer.socket.once("data", () => peer.send(packet(2, Buffer.from([0, 0, 0, 2, 0, 0, 0]))));
      },
    });
    assert.equal(await new Running(protocolProbe(server.port, "mysql")).result(), "ready");
    const peer = await server.accepted();
    await peer.ended();
    assert.deepEqual([...peer.data.subarray(-5)], [1, 0, 0, 0, 1]);
  });

  test("is not ready while the server has too many connections or shuts down", async () => {
    const answers = [
      errPacket(1040, "Too many connections"),
      errPacket(1053, "Server shutdown in progress"),
      handshake,
    ];
    assert.equal(await attempts("mysql", answers), 3);
    assert.match(await reported("mysql", errPacket(1040, "Too many")), /greets with "Too many" \(1040\)/);
  });

  test("is ready after a permanent error, which the server sends to clients itself", async () => {
    assert.equal(await attempts("mysql", [errPacket(1129, "Host is blocked")]), 1);
    assert.equal(await attempts("mysql", [errPacket(1130, "Host is not allowed to connect")]), 1);
  });
});

suite("protocolProbe() of ftp, smtp and ssh", () => {
  for (const protocol of ["ftp", "smtp"] as const) {
    test(`${protocol}: is ready after the first line, and sends QUIT after the last one`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.send("220-wel") });
      const probe = new Running(protocolProbe(server.port, protocol));
      const peer = await server.accepted();
      assert.equal(probe.state, "pending");
      peer.send("come\r\n 220 is the code\r\n");
      assert.equal(await probe.result(), "ready");
      assert.equal(peer.received, 0);
      peer.send("220 to this server\r\n");
      await peer.receives(6);
      assert.equal(peer.text, "QUIT\r\n");
      peer.end("221 bye\r\n");
      assert.equal(await peer.ended(), "ended");
    });

    test(`${protocol}: is not ready after another code`, async () => {
      assert.equal(await attempts(protocol, ["421 too busy\r\n", "554 no\r\n", "220 welcome\r\n"]), 3);
      assert.match(await reported(protocol, "421 too busy\r\n"), /greets with "421 too busy"/);
    });
  }

  test("ssh: is ready after the version, also after other lines", async () => {
    assert.equal(await attempts("ssh", ["SSH-2.0-OpenSSH_9.2\r\n"]), 1);
    assert.equal(await attempts("ssh", ["this is\r\na host\r\nSSH-2.0-OpenSSH_9.2\r\n"]), 1);
  });

  test("ssh: is not ready if the server closes the connection before its version", async () => {
    let visits = 0;
    await using server = await PeerServer.open({
      onPeer: (peer: Peer) => {
        visits += 1;
        peer.end(visits < 3 ? "Exceeded MaxStartups\r\n" : "SSH-2.0-x\r\n");
      },
    });
    assert.equal(await new Running(protocolProbe(server.port, "ssh")).result(), "ready");
    assert.equal(visits, 3);
  });
});

suite("protocolProbe()", () => {
  test("sends a PROXY header first if the target expects one", async () => {
    await using server = await answering(["+PONG\r\n"], true);
    const probe = protocolProbe(server.port, "redis", "v1");
    assert.equal(probe.name, `redis PING on ${server.port} (PROXY v1)`);
    assert.equal(await new Running(probe).result(), "ready");
    const peer = await server.accepted();
    assert.match(peer.text, /^PROXY UNKNOWN\r\n\*1/);
  });

  test("waits for a silent server, reports what is missing, and ends at once when it is aborted", async () => {
    const missing: Readonly<Record<ProbedProtocol, string>> = {
      redis: "has not answered PING yet",
      postgres: "has not answered a startup message yet",
      mysql: "has not sent its handshake yet",
      ftp: "has not greeted yet",
      smtp: "has not greeted yet",
      ssh: "has not greeted yet",
    };
    for (const [protocol, words] of Object.entries(missing)) {
      await using server = await PeerServer.open();
      const probe = new Running(protocolProbe(server.port, protocol as ProbedProtocol));
      await server.accepted();
      assert.equal(await probe.timeOut(), `StartTimeoutError: too late: it accepts connections, but ${words}`);
    }
  });
});

function packet(number: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head.writeUInt8(number, 3);
  return Buffer.concat([head, payload]);
}
