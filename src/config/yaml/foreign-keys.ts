/** What keys of xinetd, systemd, compose and others are called here, for whoever writes them by habit. */
const WORDS: Readonly<Record<string, string>> = {
  access_times: "access: { times: […] }",
  banner_fail: "banner: { deny: { file: … } }",
  banner_success: "banner: { accept: { file: … } }",
  bind: 'ports: ["ADDRESS:PORT"]',
  container_name: "container: NAME",
  cps: "limits: { rate: 50/s }",
  data_ports: 'data: ["30000-30009"]',
  deny_time: "sensor: { ban: 60m }",
  disable: "enabled: false",
  disabled: "enabled: false",
  environment: '"env", of a process, of inetd, or of a container that is made of an image',
  exec: "inetd: { command: […] }",
  instances: "limits: { connections: … }",
  interface: 'ports: ["ADDRESS:PORT"]',
  listen_stream: "ports: […]",
  max_connections: "limits: { connections: … }",
  no_access: "access: { deny: […] }",
  only_from: "access: { allow: […] }",
  per_ip: "limits: { per_source: … }",
  passive_ports: 'data: ["30000-30009"]',
  pasv_ports: 'data: ["30000-30009"]',
  passenv: 'inetd: { env: { NAME: "${NAME:-}" } }',
  probes: "monitors: […]",
  redirect: "forward: HOST:PORT",
  rlimit_as: "inetd: { rlimits: { as: … } }",
  rlimit_cpu: "inetd: { rlimits: { cpu: … } }",
  rlimit_data: "inetd: { rlimits: { data: … } }",
  rlimit_files: "inetd: { rlimits: { nofile: … } }",
  rlimit_rss: "inetd: { rlimits: { rss: … } }",
  rlimit_stack: "inetd: { rlimits: { stack: … } }",
  server: "inetd: { command: […] }",
  server_args: "inetd: { command: […] }",
  server_name: "host: app.test for HTTP, or sni: app.test for TLS",
  stop_grace_period: "stop_grace: 30s",
  stop_timeout: "stop_grace: 30s",
  socket_type: 'stream, or for datagrams ports: ["PORT/udp"]',
  protocol: 'tcp, or for udp ports: ["PORT/udp"]',
  timeout: '"idle_timeout" or "start_timeout"',
  type: "builtin: NAME for INTERNAL",
  virtual_host: "host: app.test for HTTP, or sni: app.test for TLS",
  "<<": '"defaults", for what several services have in common',
};

/** Keys that belong to the target's service in the compose file. */
const composeKeys: ReadonlySet<string> = new Set([
  ...[
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "container_name",
    "cpus",
    "deploy",
    "devices",
    "dns",
    "entrypoint",
    "env_file",
  ],
  ...["expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels", "links", "logging"],
  ...["mem_limit", "network_mode", "networks", "platform", "privileged", "profiles", "pull_policy", "read_only"],
  ...["secrets", "security_opt", "shm_size", "stdin_open", "stop_signal", "tmpfs", "tty"],
  ...["ulimits", "user", "volumes", "working_dir"],
]);

/** Returns a hint for a key of compose, or undefined for other keys. */
export function composeKey(key: string): string | undefined {
  if (key === "restart") return 'set restart: "no" (unless-stopped works too) at the container, in the compose file';
  return composeKeys.has(key) ? "it belongs to the container: leave it in the compose file" : undefined;
}

/** Protocols inside TLS, whose names look like a misspelling of those without. */
const insideTls: ReadonlySet<unknown> = new Set(["https", "ftps", "smtps", "rediss", "tls", "ssl"]);
/** Servers that go by another name and speak one that is known, and protocols that are known by another name. */
const otherNames: ReadonlyMap<unknown, string> = new Map([
  ["mariadb", "mysql"],
  ["percona", "mysql"],
  ["valkey", "redis"],
  ["keydb", "redis"],
  ["pgsql", "postgres"],
  ["psql", "postgres"],
  ["ws", "http"],
  ["websocket", "http"],
  ["submission", "smtp"],
  ["lmtp", "smtp"],
]);

/** What to write for a protocol that is not known here. @param near the one that it is a slip of, if any */
export function foreignProtocol(protocol: unknown, near: string | undefined): string | undefined {
  if (insideTls.has(protocol)) return 'write "raw": what is inside TLS passes unread';
  if (protocol === "sftp") return 'write "ssh": SFTP is spoken inside of it, and is not FTP';
  const known = otherNames.get(protocol);
  if (known !== undefined) return `write "${known}"`;
  return near === undefined ? 'write "raw": bytes are passed on as they are' : undefined;
}

/** What a key of somebody else's is here, to be copied; undefined when it is not known. */
export function foreignKey(key: string): string | undefined {
  const plain = key.replaceAll("-", "_");
  return Object.hasOwn(WORDS, plain) ? WORDS[plain] : undefined;
}
