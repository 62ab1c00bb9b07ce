import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { attributeNames } from "../../src/import/xinetd-attributes.ts";
import { importXinetd, serviceWith } from "../support/import/imported.ts";

/** The keys of the test service if no attribute is added. */
const plain = {
  command: ["/usr/sbin/vsftpd"],
  user: "root",
  groups: "none",
  cwd: "/",
  umask: "022",
  stderr: "socket",
};

const { stderr: _, ...withoutStderr } = plain;

/** Returns an `inetd` section with these keys. */
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

  /** For each attribute: the lines, the resulting keys and the warning. */
  const cases: Readonly<Record<string, readonly (readonly [lines: string[], made: object, warning?: RegExp])[]>> = {
    id: [
      [["id = ftp-inside"], { ports: ["ftp"] }],
      [["id = a:b c"], { ports: ["ftp"] }, /"id" takes one value, not 2/],
    ],
    type: [
      [["type = UNLISTED", "port = 2121", "protocol = tcp"], { ports: ["2121"] }],
      [["type = FOO"], { enabled: false }, /type: "FOO" is not valid, so xinetd disables the service/],
    ],
    flags: [
      [["flags = REUSE NOLIBWRAP"], inetd({})],
      [
        ["flags = NAMEINARGS", "server_args = in.ftpd -l"],
        inetd({ command: ["/usr/sbin/vsftpd", "-l"], argv0: "in.ftpd" }),
      ],
      [["flags = NAMEINARGS"], { enabled: false }, /NAMEINARGS needs server_args/],
      [["flags = IPv4"], { ports: ["0.0.0.0:ftp"] }],
      [["flags = IPv6"], { ports: ["ftp"] }],
      [["flags = INTERCEPT NORETRY"], inetd({}), /not converted: flags = INTERCEPT NORETRY/],
      [["flags = NODELAY KEEPALIVE LABELED"], inetd({}), /not converted: flags = NODELAY KEEPALIVE LABELED/],
      [["flags = IDONLY"], inetd({}), /not converted: flags = IDONLY/],
      [["flags = IDONLY", "log_on_success = USERID"], { enabled: false }, /IDONLY is not supported/],
      [["flags ="], { enabled: false }, /flags: "" is not valid/],
      [["flags = SENSOR", "deny_time = 60"], { sensor: { ban: "60m" } }, /not converted: user = root/],
    ],
    disable: [
      [["disable = yes"], { enabled: false }],
      [["disable = maybe"], { enabled: false }, /disable: "maybe" is not valid/],
    ],
    socket_type: [[["socket_type = stream"], inetd({})]],
    protocol: [[["protocol = tcp"], inetd({})]],
    wait: [
      [["wait = yes"], { inetd: { ...withoutStderr, wait: true }, limits: undefined }],
      [["wait = yes", "only_from = 1.2.3.4"], { access: undefined }, /not converted: only_from = 1\.2\.3\.4/],
      [
        ["wait = yes", "no_access = 1.2.3.4", "flags = REUSE"],
        { access: undefined },
        /not converted: no_access = 1\.2\.3\.4/,
      ],
      [
        ["wait = yes", "access_times = 8:00-9:00"],
        { enabled: false, access: undefined },
        /access_times is not supported with wait = yes/,
      ],
      [["wait = yes", "instances = 5", "cps = 5 5"], { limits: undefined }, /not converted: cps = 5 5/],
      [["wait = sometimes"], { enabled: false }, /wait: "sometimes" is not valid/],
      [
        ["wait = yes", "flags = INTERCEPT", "no_access = 1.2.3.4"],
        { enabled: false },
        /no_access is not supported with/,
      ],
    ],
    user: [
      [["user = ftp"], inetd({ user: "ftp" })],
      [["user = 1000"], inetd({ user: "1000", group: "1000" })],
      [["user ="], { enabled: false }, /"user" takes one value, not 0/],
    ],
    group: [[["group = adm"], inetd({ group: "adm" })]],
    groups: [
      [["groups = yes"], inetd({ groups: "init" })],
      [["groups = some"], { enabled: false }, /groups: "some" is not valid/],
    ],
    umask: [
      [["umask = 27"], inetd({ umask: "027" })],
      [["umask = 0007"], inetd({ umask: "007" })],
      [["umask = 999"], { enabled: false }, /umask: "999" is not valid/],
    ],
    nice: [
      [["nice = -5"], inetd({ nice: -5 })],
      [["nice = 100"], inetd({ nice: 19 })],
      [["nice = x"], { enabled: false }, /nice: "x" is not valid/],
    ],
    rlimit_as: [
      [["rlimit_as = 8M"], inetd({ rlimits: { as: "8m" } })],
      [["rlimit_as = 0"], inetd({})],
      [["rlimit_as = 1G"], { enabled: false }, /rlimit_as: "1G" is not valid/],
    ],
    rlimit_cpu: [
      [["rlimit_cpu = 20"], inetd({ rlimits: { cpu: 20 } })],
      [["rlimit_cpu = 2K"], { enabled: false }, /rlimit_cpu: "2K"/],
    ],
    rlimit_data: [[["rlimit_data = 1024k"], inetd({ rlimits: { data: "1024k" } })]],
    rlimit_rss: [[["rlimit_rss = 4096"], inetd({ rlimits: { rss: "4096b" } })]],
    rlimit_stack: [[["rlimit_stack = UNLIMITED"], inetd({ rlimits: { stack: "unlimited" } })]],
    rlimit_files: [
      [["rlimit_files = 77"], inetd({ rlimits: { nofile: 77 } })],
      [["rlimit_files = 2K"], inetd({ rlimits: { nofile: 2048 } })],
    ],
    server: [
      [["server = /usr/sbin/in.ftpd"], inetd({ command: ["/usr/sbin/in.ftpd"] })],
      [
        ["server = /nowhere"],
        inetd({ command: ["/nowhere"] }),
        /"\/nowhere" is not an executable program on this machine/,
      ],
    ],
    server_args: [
      [["server_args = -l $HOME # x"], inetd({ command: ["/usr/sbin/vsftpd", "-l", "$$HOME", "#", "x"] })],
      [["server_args ="], { enabled: false }, /server_args: "" is not valid/],
    ],
    env: [
      [["env = A=b", "env += C=d=e F="], inetd({ env: { A: "b", C: "d=e", F: "" } })],
      [["env = A=1", "env = B=2"], inetd({ env: { B: "2" } })],
      [["env = noequals"], { enabled: false }, /env: "noequals" is not valid/],
      [["env = A=1", "env -= A=1"], { enabled: false, ...inetd({ env: { A: "1" } }) }, /"env" does not support "-="/],
    ],
    passenv: [
      [["passenv = PATH EDITOR"], inetd({ env: { EDITOR: "${EDITOR:-}" } })],
      [["passenv ="], inetd({})],
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
    interface: [[["interface = 127.0.0.1", "bind = 10.0.0.1"], { ports: ["127.0.0.1:ftp"] }, /"bind" is set twice/]],
    redirect: [
      [["redirect = 10.0.0.5 7000"], { forward: "10.0.0.5:7000" }, /not converted: user = root/],
      [["redirect = ::1 www"], { forward: "[::1]:80" }, /not converted: user = root/],
      [["redirect = host 80", "wait = yes"], { enabled: false }, /does not redirect/],
    ],
    banner: [[["banner = /etc/hostname"], { banner: { connect: { file: "/etc/hostname" } } }]],
    banner_success: [[["banner_success = /etc/hostname"], { banner: { accept: { file: "/etc/hostname" } } }]],
    banner_fail: [
      [["banner_fail = /etc/hostname"], { banner: { deny: { file: "/etc/hostname" } } }],
      [
        ["banner_fail = /nowhere"],
        { banner: undefined },
        /not converted: banner_fail = \/nowhere: not a readable file/,
      ],
    ],
    instances: [
      [["instances = 30"], { limits: { connections: 30, ...rate("50/s") } }],
      [["instances = UNLIMITED"], { limits: { ...rate("50/s") } }],
      [["instances = 0"], { enabled: false }, /xinetd rejects all clients/],
      [["instances = 5 # five"], { limits: { ...rate("50/s") } }, /"instances" takes one value, not 3/],
      [["instances = -5"], { enabled: false }, /instances: "-5" is not valid/],
    ],
    per_source: [[["per_source = 5"], { limits: { per_source: 5, ipv6_prefix: 128, ...rate("50/s") } }]],
    cps: [
      [
        ["cps = 25 30"],
        { limits: { ...rate("25/s") } },
        /above 25 per second are rejected; the port is not closed for 30 s/,
      ],
      [["cps = 0 5"], { limits: undefined }],
      [["cps = many 5"], { enabled: false }, /cps: "many 5" is not valid/],
    ],
    max_load: [
      [["max_load = 2.5"], { limits: { ...rate("50/s"), max_load: 2.5 } }],
      [["max_load = 0"], { enabled: false }, /max_load: "0" is not valid/],
    ],
    access_times: [
      [["access_times = 2:00-9:00 12:00-23:59"], { access: { times: ["02:00-09:01", "12:00-24:00"] } }],
      [["access_times = 12:00-24:00"], { enabled: false }, /"12:00-24:00" is not valid/],
      [["access_times = 22:00-6:00"], { enabled: false }, /"22:00-6:00" is not valid/],
      [["access_times = 8-9"], { enabled: false }, /"8-9" is not valid/],
      [["access_times ="], { enabled: false }, /access_times: "" is not valid/],
    ],
    only_from: [
      [["only_from = 10.0.0.0 192.168.1.7"], { access: { allow: ["10.0.0.0/8", "192.168.1.7"] } }],
      [["only_from ="], { access: { allow: [] } }],
      [
        ["only_from = .example.org 10.1.0.0"],
        { access: { allow: ["10.1.0.0/16"] } },
        /not converted: only_from = \.example\.org/,
      ],
      [["only_from = 1.2.3.4, 1.2.3.5"], { enabled: false }, /only_from: "1\.2\.3\.4, 1\.2\.3\.5" is not valid/],
    ],
    no_access: [
      [["no_access = 1.2.3.{4,5}", "no_access -= 1.2.3.4"], { access: { deny: ["1.2.3.5"] } }],
      [["no_access = evil.example.org"], { enabled: false }, /not converted: no_access = evil\.example\.org/],
      [["no_access ="], { access: undefined }],
    ],
    libwrap: [[["libwrap = ftpd"], inetd({}), /not converted: libwrap = ftpd/]],
    deny_time: [
      [["deny_time = 60"], inetd({}), /not converted: deny_time = 60/],
      [internal("flags = SENSOR", "deny_time = FOREVER"), { sensor: { ban: "34560m" } }, /at most 24 days/],
      [
        internal("flags = SENSOR", "deny_time = 5", "only_from = 1.2.3.4", "no_access = 5.6.7.8", "user = root"),
        { sensor: { ban: "5m" }, access: { deny: ["5.6.7.8"] } },
        /not converted: only_from of a sensor/,
      ],
      [
        internal("flags = SENSOR", "deny_time = NEVER"),
        { builtin: "discard", access: { allow: [] } },
        /a sensor without deny_time only logs its clients/,
      ],
    ],
    log_type: [[["log_type = FILE /var/log/x 100K"], inetd({})]],
    log_on_success: [
      [["log_on_success = PID HOST EXIT"], inetd({})],
      [["log_on_success = TRAFFIC"], { enabled: false }, /log_on_success: xinetd disables a service with TRAFFIC/],
      [
        ["log_on_success = TRAFFIC", "redirect = h 80"],
        { forward: "h:80", enabled: undefined },
        /not converted: user = root/,
      ],
    ],
    log_on_failure: [[["log_on_failure = HOST ATTEMPT"], inetd({})]],
    rpc_version: [[["rpc_version = 2-4"], inetd({}), /not converted: rpc_version = 2-4/]],
    rpc_number: [[["rpc_number = 100"], inetd({}), /not converted: rpc_number = 100/]],
    mdns: [[["mdns = yes"], inetd({}), /not converted: mdns = yes/]],
    v6only: [
      [["v6only = yes"], { ports: ["[::]:ftp"] }],
      [["v6only = no"], { ports: ["[::]:ftp"] }, /xinetd treats "no" as "yes"/],
    ],
    // These two attributes are only allowed in the defaults.
    enabled: [[["enabled = ftp"], inetd({}), /"enabled" is only allowed in the defaults/]],
    disabled: [[["disabled = ftp"], inetd({}), /"disabled" is only allowed in the defaults/]],
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

  test("keeps an unsupported service as a comment with the reason and all its lines", () => {
    const kinds: Readonly<Record<string, RegExp>> = {
      "type = RPC": /services of type RPC are not supported/,
      "type = TCPMUX": /services of type TCPMUX are not supported/,
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

  test("does not import a redirect with an invalid host or port", () => {
    for (const [value, reason] of Object.entries({
      "10.0.0.1 nowhere": /port "nowhere" for tcp is not in/,
      "10.0.0.1 0": /redirect: "0" is not a port/,
      "a:b 80": /redirect: "a:b" is not a host/,
      "fe80::1%eth0 x": /port "x" for tcp is not in/,
    })) {
      const text = `service ftp\n{\nsocket_type = stream\nwait = no\nredirect = ${value}\n}`;
      assert.match(importXinetd({ x: text }).warnings.join("\n"), new RegExp(`^x:1: .*not imported: ${reason.source}`));
    }
  });

  test("reports an unknown attribute with its place and a suggestion", () => {
    const { service, warnings } = serviceWith("instnces = 5");
    assert.deepEqual(service["limits"], { ...rate("50/s") });
    assert.deepEqual(warnings, [
      'x:3: service ftp: unknown attribute "instnces" (did you mean "instances"?): xinetd ignores the line',
    ]);
  });

  test("two services with one port: the second is disabled", () => {
    const echo = (id: string): string =>
      `service echo\n{\nid = ${id}\ntype = INTERNAL\nsocket_type = stream\nwait = no\n}\n`;
    const { services, warnings } = importXinetd({ x: echo("a") + echo("b") });
    assert.equal(services["a"]?.["enabled"], undefined);
    assert.equal(services["b"]?.["enabled"], false);
    assert.match(warnings.join("\n"), /^x:8: service b: the port of "echo" is used by service a/);
  });

  test("gives services of the same name different names and replaces invalid characters", () => {
    const entry = (name: string): string =>
      `service ${name}\n{\nid = ${name}\ntype = INTERNAL\nsocket_type = stream\nwait = no\n}\n`;
    const { services } = importXinetd({ x: `${entry("echo")}${entry("echo")}` });
    assert.deepEqual(Object.keys(services), ["echo", "echo-2"]);
    assert.deepEqual(Object.keys(serviceWith("id = a:b/ü").services), ["a-b--"]);
  });

  test("does not import a service whose name is not in /etc/services", () => {
    const { services, yaml } = importXinetd({
      x: "service ftpp\n{\nsocket_type = stream\nwait = no\nuser = root\nserver = /usr/bin/x\n}",
    });
    assert.deepEqual(services, {});
    assert.match(yaml, /# service ftpp \(x:1\) is not imported: port "ftpp" for tcp is not in .*did you mean "ftp"/);
  });
});

suite("import xinetd: defaults", () => {
  const echo = (...lines: string[]): string =>
    `service echo\n{\ntype = INTERNAL\nsocket_type = stream\nwait = no\n${lines.join("\n")}\n}\n`;
  const withDefaults = (defaults: string, ...lines: string[]): Readonly<Record<string, unknown>> => {
    const { services } = importXinetd({ x: `defaults\n{\n${defaults}\n}\n${echo(...lines)}` });
    return services["echo"] ?? {};
  };

  test("apply to services without an own value", () => {
    const text =
      "instances = 60\nper_source = 5\ncps = 25 30\nmax_load = 4\nbanner_fail = /etc/hostname\nbind = 127.0.0.1";
    assert.deepEqual(withDefaults(text, "instances = 5"), {
      ports: ["127.0.0.1:echo"],
      builtin: "echo",
      limits: { connections: 5, per_source: 5, ipv6_prefix: 128, ...rate("25/s"), max_load: 4 },
      banner: { deny: { file: "/etc/hostname" } },
    });
  });

  test("append to lists, which a service replaces, extends or reduces", () => {
    const lists = "only_from = 10.0.0.0\nonly_from = 192.168.1.{1,2}";
    const allowed = (...lines: string[]): unknown => withDefaults(lists, ...lines)["access"];
    assert.deepEqual(allowed(), { allow: ["10.0.0.0/8", "192.168.1.1", "192.168.1.2"] });
    assert.deepEqual(allowed("only_from = 1.2.3.4"), { allow: ["1.2.3.4"] });
    assert.deepEqual(allowed("only_from += 1.2.3.4", "only_from -= 192.168.1.2 10.0.0.0"), {
      allow: ["192.168.1.1", "1.2.3.4"],
    });
    assert.deepEqual(allowed("only_from ="), { allow: [] });
  });

  test("do not apply lists to services above them, unlike single values", () => {
    const { services } = importXinetd({ x: `${echo()}defaults\n{\nonly_from = 10.0.0.0\ninstances = 7\n}\n` });
    assert.equal(services["echo"]?.["access"], undefined);
    assert.deepEqual(services["echo"]?.["limits"], { connections: 7, ...rate("50/s") });
  });

  test("enabled and disabled contain ids of services", () => {
    assert.equal(withDefaults("disabled = echo")["enabled"], false);
    assert.equal(withDefaults("disabled = echo", "id = e")["enabled"], undefined);
    assert.equal(withDefaults("enabled = ftp")["enabled"], false);
    assert.equal(withDefaults("enabled = ftp echo")["enabled"], undefined);
    assert.equal(withDefaults("enabled = echo\ndisabled = echo")["enabled"], false);
    assert.equal(withDefaults("enabled = echo", "disable = yes")["enabled"], false);
  });

  test("TRAFFIC disables every service that is not redirected", () => {
    assert.equal(withDefaults("log_on_success = TRAFFIC")["enabled"], false);
    assert.equal(withDefaults("log_on_success = TRAFFIC", "log_on_success -= TRAFFIC")["enabled"], undefined);
  });

  test("reports attributes that are not allowed, and a second entry", () => {
    const { warnings } = importXinetd({ x: `defaults\n{\nuser = root\n}\ndefaults\n{\ninstances = 1\n}\n${echo()}` });
    assert.deepEqual(warnings, [
      'x:3: "user" is not allowed in the defaults: xinetd ignores the line',
      "x:5: a second defaults entry: xinetd reads only the first",
    ]);
  });
});

suite("import xinetd: files", () => {
  const echo = (id: string, port: number): string =>
    `service echo\n{\nid = ${id}\ntype = INTERNAL UNLISTED\nprotocol = tcp\nport = ${port}\nsocket_type = stream\nwait = no\n}\n`;

  test("includes files and folders in place, sorted by bytes, without names with dots and tildes", () => {
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

  test("accepts several paths, and reads folders like includedir", () => {
    const files = { "/d/a": echo("a", 1), "/d/x.y": echo("no", 1), "/f": echo("f", 2) };
    assert.deepEqual(Object.keys(importXinetd(files, "/f", "/d/").services), ["f", "a"]);
  });

  test("reports includes that are missing or include themselves", () => {
    const { services, warnings } = importXinetd({
      "/a": `include /b\ninclude /nowhere\nincludedir /nowhere.d\n${echo("a", 1)}`,
      "/b": "include /a\ninclude\n",
    });
    assert.deepEqual(Object.keys(services), ["a"]);
    assert.deepEqual(warnings, [
      '/b:1: "/a" includes itself and is not read again',
      '/b:2: "include" has no path: skipped to the next line that contains only "}"',
      '/a:2: cannot read the included "/nowhere": no such file',
    ]);
  });

  test("rejects a path that cannot be read", () => {
    assert.throws(() => importXinetd({}, "/nowhere"), {
      name: "ImportError",
      message: "/nowhere: no such file",
    });
    assert.throws(() => importXinetd({ "/x": "#".repeat(2_000_000) }), {
      name: "ImportError",
      message: /at most 1048576/,
    });
  });

  const broken: Readonly<Record<string, readonly [text: string, warning: RegExp]>> = {
    "no space before the operator": ["service echo\n{\ntype=INTERNAL\n}\n", /x:3: "type" needs a space before "="/],
    "no operator": ["service echo\n{\nport 7\n}\n", /x:3: "port" is not followed by "="/],
    "no value and no operator": ["service echo\n{\nport\n}\n", /x:3: "port" is not followed by "="/],
    "no opening brace": ["service echo {\nport = 7\n}\n", /x:1: the next line must contain only "{"/],
    "no closing brace": ["service echo\n{\nport = 7\n", /x:1: the closing "}" is missing/],
    "an entry in an entry": ["service echo\n{\nservice ftp\n{\n}\n", /x:3: "service" is not followed by "="/],
  };
  for (const [name, [text, warning]] of Object.entries(broken)) {
    test(`drops and reports an entry, as xinetd does: ${name}`, () => {
      const { services, warnings } = importXinetd({ x: `${text}${name.includes("closing") ? "" : echo("ok", 1)}` });
      assert.deepEqual(Object.keys(services), name.includes("closing") ? [] : ["ok"]);
      assert.match(warnings.join("\n"), warning);
    });
  }

  test("reports a line that does not begin an entry", () => {
    const { services, warnings } = importXinetd({ x: `sevice ftp\n{\n}\nservice\n{\n}\n${echo("ok", 1)}` });
    assert.deepEqual(Object.keys(services), ["ok"]);
    assert.deepEqual(warnings, [
      'x:1: "sevice" is not a keyword: skipped to the next line that contains only "}"',
      'x:4: "service" has no name: skipped to the next line that contains only "}"',
    ]);
  });

  test("disables a sensor without type = INTERNAL and without a server, as xinetd does", () => {
    const text = (more: string): string =>
      `service telnet\n{\nflags = SENSOR\nsocket_type = stream\nwait = no\nuser = root\ndeny_time = 5\n${more}\n}\n`;
    const without = importXinetd({ x: text("") });
    assert.equal(without.services["telnet"]?.["enabled"], false);
    assert.match(without.warnings.join("\n"), /neither type = INTERNAL nor a server/);
    for (const more of ["type = INTERNAL", "server = /usr/sbin/x"]) {
      assert.equal(importXinetd({ x: text(more) }).services["telnet"]?.["enabled"], undefined, more);
    }
  });

  test("reports a warning about the defaults once, with the number of services", () => {
    const service = (name: string): string =>
      `service ${name}\n{\nsocket_type = stream\nwait = no\nuser = root\nserver = /usr/sbin/x\n}\n`;
    const { warnings, yaml } = importXinetd({
      x: `defaults\n{\ncps = 25 30\n}\n${["ftp", "http", "time"].map(service).join("")}`,
    });
    const found = warnings.filter((warning) => warning.includes("the port is not closed"));
    assert.equal(found.length, 1);
    assert.match(found[0] ?? "", /service ftp \(and 2 more services\): cps: /);
    assert.equal([...yaml.matchAll(/the port is not closed/g)].length, 3);
  });
});
