/** Hints for keys and values of other programs, and for keys that were renamed. */

/** Replacements for keys of xinetd, systemd, compose or an earlier version. */
const replacements: Readonly<Record<string, string>> = {
  access_times: "access: { times: […] }",
  banner_fail: "banner: { deny: { file: … } }",
  bind: 'ports: ["ADDRESS:PORT"]',
  container_name: "container: NAME",
  cps: "limits: { rate: 50/s }",
  disable: "enabled: false",
  disabled: "enabled: false",
  exec: "inetd: { command: […] }",
  instances: "limits: { connections: … }",
  interface: 'ports: ["ADDRESS:PORT"]',
  listen_stream: "ports: […]",
  max_connections: "limits: { connections: … }",
  no_access: "access: { deny: […] }",
  only_from: "access: { allow: […] }",
  passive_ports: 'data: ["30000-30009"]',
  per_ip: "limits: { per_source: … }",
  probes: "monitors: […]",
  redirect: "forward: HOST:PORT",
  server: "inetd: { command: […] }",
  server_name: "host: app.test for HTTP, or sni: app.test for TLS",
  stop_grace_period: "stop_grace: 30s",
  timeout: '"idle_timeout" or "start_timeout"',
  virtual_host: "host: app.test for HTTP, or sni: app.test for TLS",
  "<<": '"defaults", for settings of several services',
};

/** Common keys of compose that do not belong to wakeport. */
const composeKeys: ReadonlySet<string> = new Set([
  ...["build", "command", "deploy", "entrypoint", "env_file", "environment", "healthcheck", "image"],
  ...["labels", "network_mode", "networks", "profiles", "user", "volumes", "working_dir"],
]);

/** Returns a hint for a key of compose, or undefined for other keys. */
export function composeKeyHint(key: string): string | undefined {
  if (key === "restart") return 'set restart: "no" or unless-stopped for the container, in the compose file';
  return composeKeys.has(key) ? "it belongs to the container: set it in the compose file" : undefined;
}

/** Returns what to write in place of a key, or undefined if the key is unknown. */
export function replacementOf(key: string): string | undefined {
  const name = key.replaceAll("-", "_");
  return Object.hasOwn(replacements, name) ? replacements[name] : undefined;
}

const overTls: ReadonlySet<unknown> = new Set(["https", "ftps", "smtps", "rediss", "tls", "ssl"]);
/** Servers and protocols that use a known protocol. */
const compatible: ReadonlyMap<unknown, string> = new Map([
  ["mariadb", "mysql"],
  ["valkey", "redis"],
  ["pgsql", "postgres"],
  ["websocket", "http"],
  ["sftp", "ssh"],
]);

/** Returns a hint for an unknown protocol. @param near a known protocol with a similar name, if any */
export function protocolHint(protocol: unknown, near: string | undefined): string | undefined {
  if (overTls.has(protocol)) return 'use "raw": wakeport relays TLS unread';
  const known = compatible.get(protocol);
  if (known !== undefined) return `use "${known}"`;
  return near === undefined ? 'use "raw": wakeport relays all bytes unchanged' : undefined;
}
