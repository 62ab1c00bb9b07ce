/** What keys of xinetd and systemd are called here, for whoever writes them by habit. */
const WORDS: Readonly<Record<string, string>> = {
  access_times: "access: { times: […] }",
  banner_fail: "banner: { deny: { file: … } }",
  banner_success: "banner: { accept: { file: … } }",
  bind: 'ports: ["ADDRESS:PORT"]',
  cps: "limits: { rate: 50/s }",
  deny_time: "sensor: { ban: 60m }",
  disable: "enabled: false",
  disabled: "enabled: false",
  exec: "inetd: { command: […] }",
  instances: "limits: { connections: … }",
  interface: 'ports: ["ADDRESS:PORT"]',
  listen_stream: "ports: […]",
  max_connections: "limits: { connections: … }",
  no_access: "access: { deny: […] }",
  only_from: "access: { allow: […] }",
  passenv: 'inetd: { env: { NAME: "${NAME:-}" } }',
  redirect: "forward: HOST:PORT",
  rlimit_as: "inetd: { rlimits: { as: … } }",
  rlimit_cpu: "inetd: { rlimits: { cpu: … } }",
  rlimit_data: "inetd: { rlimits: { data: … } }",
  rlimit_files: "inetd: { rlimits: { nofile: … } }",
  rlimit_rss: "inetd: { rlimits: { rss: … } }",
  rlimit_stack: "inetd: { rlimits: { stack: … } }",
  server: "inetd: { command: […] }",
  server_args: "inetd: { command: […] }",
  socket_type: 'stream, or for datagrams ports: ["PORT/udp"]',
  protocol: 'tcp, or for udp ports: ["PORT/udp"]',
  type: "builtin: NAME for INTERNAL",
};

/** What a key of somebody else's is here, to be copied; undefined when it is not known. */
export function foreignWord(key: string): string | undefined {
  const plain = key.replaceAll("-", "_");
  return Object.hasOwn(WORDS, plain) ? WORDS[plain] : undefined;
}
