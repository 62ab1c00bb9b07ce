/** The targets `process`, a program that listens itself, and `inetd`, a program that is started for each client. */
import { z } from "zod";
import type { ProcessSpec, TargetSpec } from "../config.ts";
import { limitUnits, parseLimit, parseUmask } from "../values/process-limits.ts";
import { account, address, command, numberOrText, parsedBy, present, texts } from "./common.ts";
import type { Key, Keys, UntargetedContext } from "./key.ts";

const user = account.optional().describe("User to run as, by name or number");
const group = account.optional().describe("Group to run as, by name or number; default: that of the user");
const cwd = z.string().min(1).optional().describe("Working directory");
const program = "The program and its arguments; there is no shell";

export const processSchema = z.strictObject({
  command: command('["node", "server.js"]').describe(program),
  listen: address
    .optional()
    .describe("Where the program listens; default: 127.0.0.1 and the target part of the first port"),
  cwd,
  env: texts.default({}).describe("Environment variables; of its own environment wakeport passes PATH, LANG, TZ, HOME"),
  user,
  group,
  activation: z
    .enum(["none", "listen_fds"])
    .default("none")
    .describe("listen_fds: the program inherits its listener, as from systemd, and needs no port of its own"),
});

const limit = (name: keyof typeof limitUnits) =>
  numberOrText((text: string) => parseLimit(text, limitUnits[name])).optional();

const rlimits = z.strictObject({
  nofile: limit("nofile").describe("Open files"),
  as: limit("as").describe("Address space"),
  cpu: limit("cpu").describe("CPU time in seconds"),
  data: limit("data").describe("Data segment"),
  stack: limit("stack").describe("Stack"),
  rss: limit("rss").describe("Resident memory; Linux does not enforce it"),
  core: limit("core").describe("Core dump"),
});

export const inetdSchema = z.strictObject({
  command: command('["/usr/sbin/vsftpd", "/etc/vsftpd.conf"]').describe(program),
  argv0: z.string().min(1).optional().describe("The program's argv[0]; default: its path"),
  user,
  group,
  groups: z
    .union([z.enum(["none", "init"]), z.array(account)])
    .optional()
    .describe("Supplementary groups: none, those of the user (init), or a list"),
  env: texts
    .default({})
    .describe("Environment variables in addition to PATH, LANG, TZ, HOME and the addresses of the client"),
  cwd,
  umask: z
    // YAML reads 022 without quotes as a number.
    .string({ error: () => 'a umask is octal, in quotes: "027"' })
    .transform(parsedBy(parseUmask))
    .optional()
    .describe('The umask in octal, in quotes: "027"'),
  nice: z.int().min(-20).max(19).optional().describe("Added to the nice value of wakeport"),
  rlimits: rlimits
    .optional()
    .describe('Resource limits: a number, a size ("512m"), "unlimited", or a soft and a hard limit, "soft:hard"'),
  stderr: z.enum(["log", "socket"]).default("log").describe("Where stderr goes: to the log, or to the client"),
  wait: z
    .boolean()
    .default(false)
    .describe("true: one program inherits the listening socket and serves all clients until it exits"),
});

/** Returns undefined, and reports, if the port of the process is unknown. */
export function processTarget(
  { listen, activation, ...rest }: z.output<typeof processSchema>,
  { ports, report }: UntargetedContext,
): TargetSpec | undefined {
  const isHandedListener = activation === "listen_fds";
  if (ports.length === 0 && (listen !== undefined || isHandedListener)) {
    const key = listen === undefined ? "activation" : "listen";
    const hint = 'remove it, or add "ports"';
    report(`"${key}" has no effect without "ports"`, { at: ["process"], key, hint });
  }
  const port = listen?.port ?? (isHandedListener ? undefined : ports[0]?.target);
  if (port === undefined && !isHandedListener && ports.length > 0) {
    const hint = 'add listen: "127.0.0.1:PORT", or write ports as "LISTEN_PORT:PORT"';
    report("the port of the process is unknown", { at: ["process"], hint });
    return undefined;
  }
  const spec: ProcessSpec = {
    listen: { host: listen?.host ?? "127.0.0.1", ...(port !== undefined && { port }) },
    ...(isHandedListener && { isHandedListener }),
    ...present(rest),
  };
  return { kind: "process", ...spec };
}

export function inetdTarget(value: z.output<typeof inetdSchema>): TargetSpec {
  return { kind: "inetd", ...present(value) };
}

/**
 * Reports keys that `wait: true` makes ineffective: the program itself accepts all clients but the first.
 *
 * @param admissionKeys keys that only the acceptor of a connection can apply
 */
export function checkWait(
  { own, defaults, report }: UntargetedContext<Keys & { readonly inetd: Key<typeof inetdSchema> }>,
  admissionKeys: readonly string[],
): void {
  if (own.inetd?.wait !== true) return;
  const hint = 'use "process: { activation: listen_fds }", which supports them, or "wait: false"';
  for (const name of admissionKeys) {
    const isOwn = own[name] !== undefined;
    // Of inherited keys only `access` is an error: a service that ignores it silently would be unsafe.
    if (!isOwn && !(name === "access" && defaults[name] !== undefined)) continue;
    const message = `with "wait: true" the program accepts the clients: "${name}" would apply to the first client only`;
    report(message, { ...(isOwn && { key: name }), hint });
  }
  if (own.inetd.stderr === "socket") {
    const message = 'with "wait: true" the program has many clients: stderr cannot go to one of them';
    report(message, { at: ["inetd"], key: "stderr", hint: 'remove "stderr: socket"' });
  }
}
