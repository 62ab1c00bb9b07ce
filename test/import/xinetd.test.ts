import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { attributeNames } from "../../src/import/xinetd-settings.ts";
import { importXinetd, serviceWith } from "../support/program/imported.ts";

/** What a service of the tests has of its own accord. */
const plain = {
  command: ["/usr/sbin/vsftpd"],
  user: "root",
  groups: "none",
  cwd: "/",
  umask: "022",
  stderr: "socket",
};

const { stderr: _, ...nobodysStderr } = plain;

/** With the value of a key of `inetd`. */
const inetd = (more: Record<string, unknown>): object => ({ inetd: { ...plain, ...more } });
const rate = (value: string): object => ({ rate: value, rate_per_source: value });
const internal = (...more: string[]): string[] => [
  "type = INTERNAL UNLISTED",
  "protocol = tcp",
  "port = 7007",
  ...more,
];

suite("import xinetd", () => {
  test("the service of the tutorial", () => {
    const { services, whole, warnings, yaml } = importXinetd({
      "/etc/xinetd.d/ftp": `service ftp
{
        disable         = no
        socket_type     = stream
        wait            = no
        user            = root
        server          = /usr/sbin/vsftpd
        log_on_failure  += USERID
}
`,
    });
    assert.deepEqual(services, { ftp: { ports: ["ftp"], inetd: plain, limits: { ...rate("50/s") } } });
    assert.deepEqual(whole["log"], { format: "xinetd", user_id: true });
    assert.deepEqual(whole["defaults"], { on_deny: "close" });
    assert.deepEqual(warnings, []);
    assert.match(yaml, /command: \[\/usr\/sbin\/vsftpd\] # server, \/etc\/xinetd\.d\/ftp:7/);
    assert.match(yaml, /user: root # user, \/etc\/xinetd\.d\/ftp:6/);
    assert.match(yaml, /user_id: true # USERID, \/etc\/xinetd\.d\/ftp:8/);
  });

  /** For each attribute: its lines, what they make, and what is said. */
  const cases: Readonly<Record<string, readonly (readonly [lines: string[], made: object, warning?: RegExp])[]>> = {
    id: [
      [["id = ftp-inside"], { ports: ["ftp"] }],
      [["id = a:b c"], { ports: ["ftp"] }, /"id" takes one value, not 2/],
    ],
    type: [
      [["type = UNLISTED", "port = 2121", "protocol = tcp"], { ports: ["2121"] }],
      [["type = FOO"], { enabled: false }, /type: "FOO" is unknown, for which xinetd disables the service/],
    ],
    flags: [
      [["flags = REUSE NOLIBWRAP"], inetd({})],
      [
        ["flags = NAMEINARGS", "server_args = in.ftpd -l"],
        inetd({ command: ["/usr/sbin/vsftpd", "-l"], argv0: "in.ftpd" }),
      ],
      [["server_args = x", "flags = NAMEINARGS"], { enabled: false }, /xinetd crashes when a client comes/],
      [["flags = NAMEINARGS"], { enabled: false }, /NAMEINARGS needs server_args/],
      [["flags = IPv4"], { ports: ["0.0.0.0:ftp"] }],
      [["flags = IPv6"], { ports: ["ftp"] }],
      [["flags = INTERCEPT NORETRY"], inetd({}), /INTERCEPT is left out: clients are checked where/],
      [["flags = NODELAY KEEPALIVE LABELED"], inetd({}), /KEEPALIVE is left out/],
      [["flags = IDONLY"], inetd({}), /IDONLY is left out: without USERID .* it has no effect/],
      [["flags = IDONLY", "log_on_success = USERID"], { enabled: false }, /IDONLY cannot be had/],
      [["flags ="], { enabled: false }, /flags without a word/],
      [["flags = SENSOR", "deny_time = 60"], { sensor: { ban: "60m" } }, /no process is started/],
    ],
    disable: [
      [["disable = yes"], { enabled: false }],
      [["disable = maybe"], { enabled: false }, /neither yes nor no/],
    ],
    socket_type: [[["socket_type = stream"], inetd({})]],
    protocol: [[["protocol = tcp"], inetd({})]],
    wait: [
      [["wait = yes"], { inetd: { ...nobodysStderr, wait: true }, limits: undefined }],
      [
        ["wait = yes", "only_from = 1.2.3.4"],
        { access: undefined },
        /only_from is left out: .* xinetd does not heed it/,
      ],
      [["wait = yes", "no_access = 1.2.3.4", "flags = REUSE"], { access: undefined }, /no_access is left out/],
      [["wait = yes", "access_times = 8:00-9:00"], { enabled: false, access: undefined }, /access_times cannot be had/],
      [["wait = yes", "instances = 5", "cps = 5 5"], { limits: undefined }, /cps is left out: the server accepts/],
      [["wait = sometimes"], { enabled: false }, /neither yes nor no/],
    ],
    user: [
      [["user = ftp"], inetd({ user: "ftp" })],
      [["user = 1000"], inetd({ user: "1000", group: "1000" })],
      [["user ="], { enabled: false }, /"user" takes one value, not 0/],
    ],
    group: [[["group = adm"], inetd({ group: "adm" })]],
    groups: [
      [["groups = yes"], inetd({ groups: "init" })],
      [["groups = some"], { enabled: false }, /groups: "some" is neither/],
    ],
    umask: [
      [["umask = 27"], inetd({ umask: "027" })],
      [["umask = 0007"], inetd({ umask: "007" })],
      [["umask = 999"], { enabled: false }, /no octal number/],
    ],
    nice: [
      [["nice = -5"], inetd({ nice: -5 })],
      [["nice = 100"], inetd({ nice: 19 }), /100 means 19/],
      [["nice = x"], { enabled: false }, /nice: "x" is no number/],
    ],
    rlimit_as: [
      [["rlimit_as = 8M"], inetd({ rlimits: { as: "8m" } })],
      [["rlimit_as = 0"], inetd({}), /0 is no limit to xinetd/],
      [["rlimit_as = 1G"], { enabled: false }, /rlimit_as: "1G" is no limit/],
    ],
    rlimit_cpu: [
      [["rlimit_cpu = 20"], inetd({ rlimits: { cpu: 20 } })],
      [["rlimit_cpu = 2K"], { enabled: false }, /rlimit_cpu: "2K"/],
    ],
    rlimit_data: [[["rlimit_data = 1024k"], inetd({ rlimits: { data: "1024k" } })]],
    rlimit_rss: [[["rlimit_rss = 4096"], inetd({ rlimits: { rss: "4096b" } }), /no effect on Linux/]],
    rlimit_stack: [[["rlimit_stack = UNLIMITED"], inetd({ rlimits: { stack: "unlimited" } })]],
    rlimit_files: [
      [["rlimit_files = 77"], inetd({ rlimits: { nofile: 77 } })],
      [["rlimit_files = 2K"], inetd({ rlimits: { nofile: 2048 } })],
    ],
    server: [
      [["server = /usr/sbin/in.ftpd"], inetd({ command: ["/usr/sbin/in.ftpd"] })],
      [["server = /nowhere"], inetd({ command: ["/nowhere"] }), /no program that can be run on this machine/],
    ],
    server_args: [
      [["server_args = -l $HOME # x"], inetd({ command: ["/usr/sbin/vsftpd", "-l", "$$HOME", "#", "x"] })],
      [["server_args ="], { enabled: false }, /server_args without a word/],
    ],
    env: [
      [["env = A=b", "env += C=d=e F="], inetd({ env: { A: "b", C: "d=e", F: "" } })],
      [["env = A=1", "env = B=2"], inetd({ env: { B: "2" } })],
      [["env = noequals"], { enabled: false }, /has no "="/],
      [["env = A=1", "env -= A=1"], { enabled: false, ...inetd({ env: { A: "1" } }) }, /"env" does not know "-="/],
    ],
    passenv: [
      [["passenv = PATH EDITOR"], inetd({ env: { EDITOR: "${EDITOR:-}" } })],
      [["passenv ="], inetd({}), /passenv is empty/],
      [["passenv = A B", "passenv -= A"], inetd({ env: { B: "${B:-}" } })],
    ],
    port: [
      [["port = 21"], { ports: ["21"] }],
      [["port = 2121"], { enabled: false }, /"ftp" has the port 21 in \/etc\/services/],
    ],
    bind: [
      [["bind = 1"], { ports: ["ftp"], enabled: false }, /"1" is a name/],
      [["bind = 127.0.0.1"], { ports: ["127.0.0.1:ftp"] }],
      [["bind = ::1"], { ports: ["[::1]:ftp"] }],
      [["bind = localhost"], { ports: ["ftp"], enabled: false }, /"localhost" is a name/],
    ],
    interface: [[["interface = 127.0.0.1", "bind = 10.0.0.1"], { ports: ["127.0.0.1:ftp"] }, /"bind" is set already/]],
    redirect: [
      [["redirect = 10.0.0.5 7000"], { forward: "10.0.0.5:7000" }, /no process is started/],
      [["redirect = ::1 www"], { forward: "[::1]:80" }, /no process/],
      [["redirect = host 80", "wait = yes"], { enabled: false }, /does not redirect/],
    ],
    banner: [[["banner = /etc/hostname"], { banner: { connect: { file: "/etc/hostname" } } }]],
    banner_success: [[["banner_success = /etc/hostname"], { banner: { accept: { file: "/etc/hostname" } } }]],
    banner_fail: [
      [["banner_fail = /etc/hostname"], { banner: { deny: { file: "/etc/hostname" } } }],
      [["banner_fail = /nowhere"], { banner: undefined }, /"\/nowhere" is no file that can be read on this machine/],
    ],
    instances: [
      [["instances = 30"], { limits: { connections: 30, ...rate("50/s") } }],
      [["instances = UNLIMITED"], { limits: { ...rate("50/s") } }],
      [["instances = 0"], { enabled: false }, /xinetd refuses everybody/],
      [["instances = 5 # five"], { limits: { ...rate("50/s") } }, /"instances" takes one value, not 3/],
      [["instances = -5"], { enabled: false }, /"-5" is no number/],
    ],
    per_source: [[["per_source = 5"], { limits: { per_source: 5, ipv6_prefix: 128, ...rate("50/s") } }]],
    cps: [
      [
        ["cps = 25 30"],
        { limits: { ...rate("25/s") } },
        /beyond 25 a second is refused, but the port is not closed for 30 s/,
      ],
      [["cps = 0 5"], { limits: undefined }],
      [["cps = many 5"], { enabled: false }, /cps takes two numbers/],
    ],
    max_load: [
      [["max_load = 2.5"], { limits: { ...rate("50/s"), max_load: 2.5 } }],
      [["max_load = 0"], { enabled: false }, /no load/],
    ],
    access_times: [
      [["access_times = 2:00-9:00 12:00-23:59"], { access: { times: ["02:00-09:01", "12:00-24:00"] } }],
      [["access_times = 12:00-24:00"], { enabled: false, access: { times: ["12:00-24:00"] } }, /ends at 24:00/],
      [["access_times = 22:00-6:00"], { enabled: false, access: { times: ["22:00-06:00"] } }, /goes over midnight/],
      [["access_times = 8-9"], { enabled: false }, /"8-9" is no time/],
      [["access_times ="], { enabled: false }, /access_times without a time/],
    ],
    only_from: [
      [["only_from = 10.0.0.0 192.168.1.7"], { access: { allow: ["10.0.0.0/8", "192.168.1.7"] } }],
      [["only_from ="], { access: { allow: [] } }],
      [["only_from = .example.org 10.1.0.0"], { access: { allow: ["10.1.0.0/16"] } }, /lets nobody else in/],
      [["only_from = 1.2.3.4, 1.2.3.5"], { enabled: false }, /has a comma in it/],
    ],
    no_access: [
      [["no_access = 1.2.3.{4,5}", "no_access -= 1.2.3.4"], { access: { deny: ["1.2.3.5"] } }],
      [["no_access = evil.example.org"], { enabled: false }, /who was denied by it would get in/],
      [["no_access ="], { access: undefined }],
    ],
    libwrap: [[["libwrap = ftpd"], inetd({}), /libwrap is left out: .*hosts\.allow/]],
    deny_time: [
      [["deny_time = 60"], inetd({}), /deny_time is left out: it means something to a SENSOR only/],
      [internal("flags = SENSOR", "deny_time = FOREVER"), { sensor: { ban: "34560m" } }, /24 days at most/],
      [
        internal("flags = SENSOR", "deny_time = 5", "only_from = 1.2.3.4", "no_access = 5.6.7.8", "user = root"),
        { sensor: { ban: "5m" }, access: { deny: ["5.6.7.8"] } },
        /only_from means nothing to a sensor/,
      ],
      [
        internal("flags = SENSOR", "deny_time = NEVER"),
        { builtin: "discard", access: { allow: [] } },
        /xinetd only logs who connects/,
      ],
    ],
    log_type: [[["log_type = FILE /var/log/x 100K"], inetd({}), /log_type = FILE .* goes to standard output/]],
    log_on_success: [
      [["log_on_success = PID HOST EXIT"], inetd({})],
      [["log_on_success = TRAFFIC"], { enabled: false }, /TRAFFIC in log_on_success: xinetd disables/],
      [["log_on_success = TRAFFIC", "redirect = h 80"], { forward: "h:80", enabled: undefined }, /no process/],
    ],
    log_on_failure: [[["log_on_failure = HOST ATTEMPT"], inetd({})]],
    rpc_version: [[["rpc_version = 2-4"], inetd({}), /rpc_version is left out: SunRPC/]],
    rpc_number: [[["rpc_number = 100"], inetd({}), /rpc_number is left out: SunRPC/]],
    mdns: [[["mdns = yes"], inetd({}), /mdns is left out/]],
    v6only: [
      [["v6only = yes"], { ports: ["[::]:ftp"] }],
      [["v6only = no"], { ports: ["[::]:ftp"] }, /takes it for yes, whatever it says/],
    ],
    // These two stand in the defaults; here they are unknown.
    enabled: [[["enabled = ftp"], inetd({}), /"enabled" may stand only in the defaults/]],
    disabled: [[["disabled = ftp"], inetd({}), /"disabled" may stand only in the defaults/]],
  };

  test("every attribute has a case here", () => {
    assert.deepEqual(Object.keys(cases).toSorted(), [...attributeNames].toSorted());
  });

  for (const [lines, made, warning] of Object.values(cases).flat()) {
    test(lines.join("; "), () => {
      const { service, warnings, yaml } = serviceWith(...lines);
      for (const [key, value] of Object.entries(made)) assert.deepEqual(service[key], value, `${key}\n${yaml}`);
      if (warning === undefined) assert.deepEqual(warnings, []);
      else {
        const found = warnings.filter((line) => warning.test(line));
        assert.equal(found.length, 1, warnings.join("\n"));
        assert.match(found[0] ?? "", /^x:\d+: /);
        assert.match(yaml, new RegExp(`# warning: .*${warning.source}`), yaml);
      }
    });
  }

  test("what is not supported stays as a remark, with the reason and all of its lines", () => {
    const kinds: Readonly<Record<string, RegExp>> = {
      "type = RPC": /SunRPC is not supported/,
      "type = TCPMUX": /tcpmux are not supported/,
      "socket_type = dgram": /a UDP server that takes over the socket is not supported/,
      "socket_type = raw": /sockets of type "raw"/,
      "protocol = sctp": /the protocol "sctp" is not supported/,
      "type = INTERNAL UNLISTED": /wakeport has no builtin "fsp"/,
    };
    for (const [line, reason] of Object.entries(kinds)) {
      const text = `service fsp\n{\n${line}\nport = 9098\nwait = yes\n${line.startsWith("socket") ? "" : "socket_type = stream"}\n}`;
      const { services, warnings, yaml } = importXinetd({ x: text });
      assert.deepEqual(services, {});
      assert.equal(warnings.length, 1, warnings.join("\n"));
      assert.match(warnings[0] ?? "", new RegExp(`^x:1: service fsp is not imported: .*${reason.source}`));
      assert.match(yaml, new RegExp(`# service fsp \\(x:1\\) is not imported: .*${reason.source}`));
      assert.ok(yaml.includes(`#     ${line}`), yaml);
    }
  });

  test("a redirect to nowhere is no service", () => {
    for (const [value, reason] of Object.entries({
      "10.0.0.1 nowhere": /"nowhere" is no port/,
      "10.0.0.1 0": /"0" is no port/,
      "a:b 80": /"a:b" is no host/,
      "fe80::1%eth0 x": /"x" is no port/,
    })) {
      const text = `service ftp\n{\nsocket_type = stream\nwait = no\nredirect = ${value}\n}`;
      assert.match(importXinetd({ x: text }).warnings.join("\n"), new RegExp(`^x:1: .*redirect: ${reason.source}`));
    }
  });

  test("an unknown attribute is told with its place and what it may have been", () => {
    const { service, warnings } = serviceWith("instnces = 5");
    assert.deepEqual(service["limits"], { ...rate("50/s") });
    assert.deepEqual(warnings, [
      'x:3: service ftp: unknown attribute "instnces" (was "instances" meant?): xinetd leaves the line out',
    ]);
  });

  test("one port is served once: by the first service", () => {
    const echo = (id: string): string =>
      `service echo\n{\nid = ${id}\ntype = INTERNAL\nsocket_type = stream\nwait = no\n}\n`;
    const { services, warnings } = importXinetd({ x: echo("a") + echo("b") });
    assert.equal(services["a"]?.["enabled"], undefined);
    assert.equal(services["b"]?.["enabled"], false);
    assert.match(warnings.join("\n"), /^x:8: service b: the port of "echo" is taken by the service a/);
  });

  test("services of the same name get names of their own, and strange names become allowed ones", () => {
    const entry = (name: string): string =>
      `service ${name}\n{\nid = ${name}\ntype = INTERNAL\nsocket_type = stream\nwait = no\n}\n`;
    const { services } = importXinetd({ x: `${entry("echo")}${entry("echo")}` });
    assert.deepEqual(Object.keys(services), ["echo", "echo-2"]);
    assert.deepEqual(Object.keys(serviceWith("id = a:b/ü").services), ["a-b--"]);
  });

  test("a name that /etc/services does not have is no service", () => {
    const { services, yaml } = importXinetd({
      x: "service fpt\n{\nsocket_type = stream\nwait = no\nuser = root\nserver = /usr/bin/x\n}",
    });
    assert.deepEqual(services, {});
    assert.match(yaml, /# service fpt \(x:1\) is not imported: there is no port "fpt" for tcp .*did you mean "ftp"/);
  });
});

suite("import xinetd: defaults", () => {
  const echo = (...lines: string[]): string =>
    `service echo\n{\ntype = INTERNAL\nsocket_type = stream\nwait = no\n${lines.join("\n")}\n}\n`;
  const withDefaults = (defaults: string, ...lines: string[]): Readonly<Record<string, unknown>> => {
    const { services } = importXinetd({ x: `defaults\n{\n${defaults}\n}\n${echo(...lines)}` });
    return services["echo"] ?? {};
  };

  test("fill in what a service does not say", () => {
    const text =
      "instances = 60\nper_source = 5\ncps = 25 30\nmax_load = 4\nbanner_fail = /etc/hostname\nbind = 127.0.0.1";
    assert.deepEqual(withDefaults(text, "instances = 5"), {
      ports: ["127.0.0.1:echo"],
      builtin: "echo",
      limits: { connections: 5, per_source: 5, ipv6_prefix: 128, ...rate("25/s"), max_load: 4 },
      banner: { deny: { file: "/etc/hostname" } },
    });
  });

  test("lists add up, and services replace, add to and take from them", () => {
    const lists = "only_from = 10.0.0.0\nonly_from = 192.168.1.{1,2}";
    const allowed = (...lines: string[]): unknown => withDefaults(lists, ...lines)["access"];
    assert.deepEqual(allowed(), { allow: ["10.0.0.0/8", "192.168.1.1", "192.168.1.2"] });
    assert.deepEqual(allowed("only_from = 1.2.3.4"), { allow: ["1.2.3.4"] });
    assert.deepEqual(allowed("only_from += 1.2.3.4", "only_from -= 192.168.1.2 10.0.0.0"), {
      allow: ["192.168.1.1", "1.2.3.4"],
    });
    assert.deepEqual(allowed("only_from ="), { allow: [] });
  });

  test("lists that stand after a service are not for it, single values are", () => {
    const { services } = importXinetd({ x: `${echo()}defaults\n{\nonly_from = 10.0.0.0\ninstances = 7\n}\n` });
    assert.equal(services["echo"]?.["access"], undefined);
    assert.deepEqual(services["echo"]?.["limits"], { connections: 7, ...rate("50/s") });
  });

  test("disabled and enabled name services by their ids", () => {
    assert.equal(withDefaults("disabled = echo")["enabled"], false);
    assert.equal(withDefaults("disabled = echo", "id = e")["enabled"], undefined);
    assert.equal(withDefaults("enabled = ftp")["enabled"], false);
    assert.equal(withDefaults("enabled = ftp echo")["enabled"], undefined);
    assert.equal(withDefaults("enabled = echo\ndisabled = echo")["enabled"], false);
    assert.equal(withDefaults("enabled = echo", "disable = yes")["enabled"], false);
  });

  test("TRAFFIC there disables every service that is not redirected", () => {
    assert.equal(withDefaults("log_on_success = TRAFFIC")["enabled"], false);
    assert.equal(withDefaults("log_on_success = TRAFFIC", "log_on_success -= TRAFFIC")["enabled"], undefined);
  });

  test("what may not stand there, and a second entry, are told", () => {
    const { warnings } = importXinetd({ x: `defaults\n{\nuser = root\n}\ndefaults\n{\ninstances = 1\n}\n${echo()}` });
    assert.deepEqual(warnings, [
      'x:3: "user" may not stand in the defaults: xinetd leaves the line out',
      "x:5: a second defaults entry: xinetd reads only the first",
    ]);
  });
});

suite("import xinetd: files", () => {
  const echo = (id: string, port: number): string =>
    `service echo\n{\nid = ${id}\ntype = INTERNAL UNLISTED\nprotocol = tcp\nport = ${port}\nsocket_type = stream\nwait = no\n}\n`;

  test("includes files and folders where they stand, in the order of bytes, without dots and tildes", () => {
    const { services, warnings, yaml } = importXinetd({
      "/e/x.conf": `defaults\n{\ninstances = 3\n}\ninclude /e/one\nincludedir /e/d\n${echo("last", 5)}`,
      "/e/one": echo("one", 1),
      "/e/d/b": echo("b", 2),
      "/e/d/B": echo("B", 3),
      "/e/d/c.rpmsave": echo("c", 4),
      "/e/d/d~": echo("d", 4),
    });
    assert.deepEqual(Object.keys(services), ["one", "B", "b", "last"]);
    assert.deepEqual(warnings, []);
    assert.match(yaml, /connections: 3 # instances, \/e\/x\.conf:3/);
    assert.match(yaml, /ports: \["3"\] # port, \/e\/d\/B:6/);
  });

  test("takes several paths, and folders like includedir", () => {
    const files = { "/d/a": echo("a", 1), "/d/x.y": echo("no", 1), "/f": echo("f", 2) };
    assert.deepEqual(Object.keys(importXinetd(files, "/f", "/d/").services), ["f", "a"]);
  });

  test("what includes itself, or is not there, is told", () => {
    const { services, warnings } = importXinetd({
      "/a": `include /b\ninclude /nowhere\nincludedir /nowhere.d\n${echo("a", 1)}`,
      "/b": "include /a\ninclude\n",
    });
    assert.deepEqual(Object.keys(services), ["a"]);
    assert.deepEqual(warnings, [
      '/b:1: "/a" includes itself in the end, and is not read again',
      '/b:2: "include" without a path',
      '/a:2: the included file "/nowhere" cannot be read: there is no such file',
    ]);
  });

  test("a path that cannot be read is an error", () => {
    assert.throws(() => importXinetd({}, "/nowhere"), {
      name: "ImportError",
      message: "/nowhere: there is no such file",
    });
    assert.throws(() => importXinetd({ "/x": "#".repeat(2_000_000) }), {
      name: "ImportError",
      message: /at most 1048576/,
    });
  });

  const broken: Readonly<Record<string, readonly [text: string, warning: RegExp]>> = {
    "no space before the operator": ["service echo\n{\ntype=INTERNAL\n}\n", /x:3: "type" needs a space before "="/],
    "no operator": ["service echo\n{\nport 7\n}\n", /x:3: after "port" comes no "="/],
    "no value and no operator": ["service echo\n{\nport\n}\n", /x:3: after "port" comes no "="/],
    "no opening brace": ["service echo {\nport = 7\n}\n", /x:1: after this line one with only "{" is missing/],
    "no closing brace": ["service echo\n{\nport = 7\n", /x:1: the closing "}" is missing/],
    "an entry in an entry": ["service echo\n{\nservice ftp\n{\n}\n", /x:3: after "service" comes no "="/],
  };
  for (const [name, [text, warning]] of Object.entries(broken)) {
    test(`drops an entry as xinetd does, and tells it: ${name}`, () => {
      const { services, warnings } = importXinetd({ x: `${text}${name.includes("closing") ? "" : echo("ok", 1)}` });
      assert.deepEqual(Object.keys(services), name.includes("closing") ? [] : ["ok"]);
      assert.match(warnings.join("\n"), warning);
    });
  }

  test("a word that begins no entry is told", () => {
    const { services, warnings } = importXinetd({ x: `sevice ftp\n{\n}\nservice\n{\n}\n${echo("ok", 1)}` });
    assert.deepEqual(Object.keys(services), ["ok"]);
    assert.deepEqual(warnings, [
      'x:1: "sevice" is no entry of xinetd.conf: skipped to the next line with only "}"',
      'x:4: "service" without a name: skipped to the next line with only "}"',
    ]);
  });

  test("disables a sensor that is neither internal nor has a server, as xinetd does", () => {
    const text = (more: string): string =>
      `service telnet\n{\nflags = SENSOR\nsocket_type = stream\nwait = no\nuser = root\ndeny_time = 5\n${more}\n}\n`;
    const without = importXinetd({ x: text("") });
    assert.equal(without.services["telnet"]?.["enabled"], false);
    assert.match(without.warnings.join("\n"), /neither type = INTERNAL nor a server/);
    for (const more of ["type = INTERNAL", "server = /usr/sbin/x"]) {
      assert.equal(importXinetd({ x: text(more) }).services["telnet"]?.["enabled"], undefined, more);
    }
  });

  test("tells what the defaults mean once, and of how many services", () => {
    const service = (name: string): string =>
      `service ${name}\n{\nsocket_type = stream\nwait = no\nuser = root\nserver = /usr/sbin/x\n}\n`;
    const { warnings, yaml } = importXinetd({
      x: `defaults\n{\ncps = 25 30\n}\n${["ftp", "http", "time"].map(service).join("")}`,
    });
    const told = warnings.filter((warning) => warning.includes("the port is not closed"));
    assert.equal(told.length, 1);
    assert.match(told[0] ?? "", /service ftp \(and 2 more services\): cps: /);
    assert.equal([...yaml.matchAll(/the port is not closed/g)].length, 3);
  });
});
