import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { importInetd } from "../support/import/imported.ts";

const vsftpd = "/usr/sbin/vsftpd vsftpd /etc/vsftpd.conf";
const command = ["/usr/sbin/vsftpd", "/etc/vsftpd.conf"];
const inetd = { command, user: "root", groups: "init", cwd: "/", stderr: "socket" };
const waiting = { command, user: "root", groups: "init", cwd: "/", wait: true };
const limits = { rate: "256/m", rate_per_source: "256/m" };

suite("import inetd", () => {
  /** For each line: the imported service and the warning. */
  const lines: Readonly<Record<string, readonly [made: object, warning?: RegExp]>> = {
    [`ftp stream tcp nowait root ${vsftpd}`]: [{ ports: ["ftp"], inetd, limits }],
    [`ftp\tstream\ttcp6\tnowait\troot\t${vsftpd}`]: [{ ports: ["[::]:ftp"], inetd, limits }],
    [`ftp stream tcp4 nowait root ${vsftpd}`]: [{ ports: ["0.0.0.0:ftp"], inetd, limits }],
    [`ftp stream tcp46 nowait root ${vsftpd}`]: [{ ports: ["ftp"], inetd, limits }],
    [`2121 stream tcp nowait root ${vsftpd}`]: [{ ports: ["2121"], inetd, limits }],
    [`127.0.0.1,::1:ftp stream tcp nowait root ${vsftpd}`]: [{ ports: ["127.0.0.1:ftp", "[::1]:ftp"], inetd, limits }],
    [`127.0.0.1,[::1]:ftp stream tcp nowait root ${vsftpd}`]: [
      { ports: ["127.0.0.1:ftp", "[::1]:ftp"], inetd, limits },
    ],
    [`127.0.0.1,[::1]:ftp stream tcp6 nowait root ${vsftpd}`]: [{ ports: ["[::1]:ftp"], inetd, limits }],
    [`127.0.0.1:ftp stream tcp6 nowait root ${vsftpd}`]: [
      { ports: ["ftp"], enabled: false, inetd, limits },
      /tcp6 does not match 127\.0\.0\.1/,
    ],
    [`*:ftp stream tcp nowait root ${vsftpd}`]: [{ ports: ["ftp"], inetd, limits }],
    [`localhost:ftp stream tcp nowait root ${vsftpd}`]: [
      { ports: ["ftp"], enabled: false, inetd, limits },
      /"localhost" is not an address/,
    ],
    [`ftp stream tcp nowait.30 root ${vsftpd}`]: [
      { ports: ["ftp"], inetd, limits: { rate: "30/m", rate_per_source: "30/m" } },
      /above 30 per minute are rejected; the port is not closed for 10 minutes/,
    ],
    [`ftp stream tcp nowait/10/20/5 root ${vsftpd}`]: [
      { ports: ["ftp"], inetd, limits: { connections: 10, per_source: 5, rate: "256/m", rate_per_source: "20/m" } },
    ],
    [`ftp stream tcp nowait/0 root ${vsftpd}`]: [{ ports: ["ftp"], inetd, limits }],
    [`ftp stream tcp nowait.x root ${vsftpd}`]: [
      { ports: ["ftp"], enabled: false, inetd },
      /"\.x" is not a valid limit/,
    ],
    [`ftp stream tcp wait root ${vsftpd}`]: [{ ports: ["ftp"], inetd: waiting }],
    [`ftp stream tcp wait.5 root ${vsftpd}`]: [{ ports: ["ftp"], inetd: waiting }, /not converted: wait\.5, because/],
    [`ftp stream tcp nowait ftp.adm ${vsftpd}`]: [
      { ports: ["ftp"], inetd: { ...inetd, user: "ftp", group: "adm" }, limits },
    ],
    [`ftp stream tcp nowait ftp:adm/daemon ${vsftpd}`]: [
      { ports: ["ftp"], inetd: { ...inetd, user: "ftp", group: "adm" }, limits },
      /not converted: the login class "daemon"/,
    ],
    "ftp stream tcp nowait root /usr/sbin/tcpd in.ftpd -l": [
      { ports: ["ftp"], inetd: { ...inetd, command: ["/usr/sbin/tcpd", "-l"], argv0: "in.ftpd" }, limits },
    ],
    "ftp stream tcp nowait root /usr/bin/x": [{ ports: ["ftp"], inetd: { ...inetd, command: ["/usr/bin/x"] }, limits }],
    "ftp stream tcp nowait root /nowhere x": [
      { ports: ["ftp"], inetd: { ...inetd, command: ["/nowhere"], argv0: "x" }, limits },
      /"\/nowhere" is not an executable program/,
    ],
    "echo stream tcp nowait root internal": [{ ports: ["echo"], builtin: "echo", limits }],
    [`ftp stream tcp,sndbuf=16k,rcvbuf=1m nowait root ${vsftpd}`]: [
      { ports: ["ftp"], inetd, limits },
      /not converted: sndbuf=16k,rcvbuf=1m/,
    ],
  };
  for (const [line, [made, warning]] of Object.entries(lines)) {
    test(line, () => {
      const { services, warnings, yaml } = importInetd(`# comment\n\n${line}\n`);
      const [service] = Object.values(services);
      assert.deepEqual(service, made, yaml);
      if (warning === undefined) assert.deepEqual(warnings, []);
      else assert.match(warnings.join("\n"), new RegExp(`^inetd.conf:3: .*${warning.source}`));
      assert.match(yaml, /# inetd\.conf:3/);
    });
  }

  const omitted: Readonly<Record<string, RegExp>> = {
    "tftp dgram udp wait root /usr/sbin/in.tftpd in.tftpd": /a UDP server that takes over the socket is not supported/,
    "echo dgram udp4 wait root internal": /a UDP server/,
    "rstatd/1-3 dgram rpc/udp wait root /usr/sbin/rpc.rstatd rpc.rstatd": /SunRPC/,
    "/run/x stream unix nowait root /usr/bin/x x": /sockets with a path/,
    "x raw icmp nowait root /usr/bin/x": /sockets of type "raw"/,
    "ftp stream sctp nowait root /usr/bin/x": /the protocol "sctp"/,
    "ftp stream tcp never root /usr/bin/x": /"never" is neither wait nor nowait/,
    "ftp stream tcp nowait root": /a line needs a service/,
    "ftpp stream tcp nowait root /usr/bin/x": /port "ftpp" for tcp is not in .*did you mean "ftp"/,
    "finger stream tcp nowait root internal": /no builtin "finger"/,
    "ftp stream tcp nowait root internal": /no builtin "ftp"/,
    "ftp stream tcp nowait .adm /usr/bin/x": /"\.adm" does not contain a user/,
  };
  for (const [line, reason] of Object.entries(omitted)) {
    test(`not imported: ${line}`, () => {
      const { services, warnings, yaml } = importInetd(line);
      assert.deepEqual(services, {});
      assert.match(warnings.join("\n"), new RegExp(`^inetd.conf:1: .* is not imported: .*${reason.source}`));
      assert.ok(yaml.includes(`#     ${line}`), yaml);
    });
  }

  test("applies an address on a line of its own to the following lines", () => {
    const line = (name: string): string => `${name} stream tcp nowait root internal\n`;
    const { services } = importInetd(
      `127.0.0.1:\n${line("echo")}10.0.0.1:${line("discard")}*:\n${line("daytime")}*:${line("time")}`,
    );
    assert.deepEqual(
      Object.values(services).map(({ ports }) => ports),
      [["127.0.0.1:echo"], ["10.0.0.1:discard"], ["daytime"], ["time"]],
    );
  });

  test("a line that begins with a blank continues the line before", () => {
    const { services } = importInetd(
      "ftp stream tcp nowait root\n\t/usr/bin/x x\n  -v\n\necho stream tcp nowait root internal\n",
    );
    assert.deepEqual(services["ftp"]?.["inetd"], { ...inetd, command: ["/usr/bin/x", "-v"] });
    assert.deepEqual(Object.keys(services), ["ftp", "echo"]);
  });

  test("two services with one port: the second is disabled", () => {
    const { services, warnings } = importInetd("echo stream tcp nowait root internal\n".repeat(2));
    assert.equal(services["echo-2"]?.["enabled"], false);
    assert.match(warnings.join("\n"), /^inetd\.conf:2: echo: the port of "echo" is used by service echo/);
  });

  test("ignores comments", () => {
    assert.deepEqual(importInetd("#ftp stream tcp nowait root /usr/bin/x\n").services, {});
  });
});
