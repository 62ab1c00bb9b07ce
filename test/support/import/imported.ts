/** Imports configurations from texts instead of files. */
import assert from "node:assert/strict";
import { parseDocument } from "yaml";
import { portNames } from "../../../src/config/values/etc-services.ts";
import { type Draft, renderDraft, warningLine } from "../../../src/import/draft.ts";
import { convertInetd } from "../../../src/import/inetd.ts";
import { linesOf, type Sources } from "../../../src/import/sources.ts";
import { convertXinetd } from "../../../src/import/xinetd.ts";
import { readXinetd } from "../../../src/import/xinetd-parser.ts";

const servicesFile = `
echo 7/tcp
echo 7/udp
discard 9/tcp
daytime 13/tcp
ftp 21/tcp
telnet 23/tcp
time 37/tcp
tftp 69/udp
http 80/tcp www
`;

export interface Imported {
  /** The services of the YAML. */
  readonly services: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly yaml: string;
  /** The lines on standard error. */
  readonly warnings: readonly string[];
  /** All sections of the YAML. */
  readonly whole: Readonly<Record<string, unknown>>;
}

/** Returns sources with these files, by path. Every path in /usr is a program. */
export function sourcesOf(files: Readonly<Record<string, string | Uint8Array>>): Sources {
  const textOf = (path: string): string | Uint8Array | undefined =>
    Object.hasOwn(files, path) ? files[path] : undefined;
  const list = (folder: string): string[] =>
    Object.keys(files).flatMap((path) => (path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1)] : []));
  return {
    kindOf: (path) => (textOf(path) !== undefined ? "file" : list(path).length > 0 ? "folder" : undefined),
    list,
    lines: (path) => {
      const text = textOf(path);
      if (text === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
      return linesOf(Buffer.from(text), path);
    },
    sizeOf: (path) => (path === "/etc/hostname" ? 10 : undefined),
    isProgram: (path) => path.startsWith("/usr/"),
  };
}

/** Imports as `wakeport import xinetd PATH…` does. */
export function importXinetd(files: Readonly<Record<string, string | Uint8Array>>, ...paths: string[]): Imported {
  const sources = sourcesOf(files);
  const parsed = readXinetd(paths.length > 0 ? paths : Object.keys(files).slice(0, 1), sources);
  return resultOf(convertXinetd(parsed, { names: portNames(() => servicesFile), sources }));
}

/** Imports as `wakeport import inetd PATH` does. */
export function importInetd(text: string | Uint8Array): Imported {
  const context = { names: portNames(() => servicesFile), sources: sourcesOf({ "inetd.conf": text }) };
  return resultOf(convertInetd(["inetd.conf"], context));
}

/** Imports one service with these lines and the required attributes that they do not contain. */
export function serviceWith(...lines: string[]): Imported & { readonly service: Readonly<Record<string, unknown>> } {
  const names = lines.map((line) => line.trim().split(" ")[0]);
  const required = ["socket_type = stream", "wait = no", "user = root", "server = /usr/sbin/vsftpd"];
  const all = [...lines, ...required.filter((line) => !names.includes(line.split(" ")[0]))];
  const result = importXinetd({ x: `service ftp\n{\n${all.join("\n")}\n}\n` });
  const [service] = Object.values(result.services);
  assert.ok(service, result.yaml);
  return { ...result, service };
}

function resultOf(draft: Draft): Imported {
  const yaml = renderDraft(draft);
  const document = parseDocument(yaml, { uniqueKeys: true });
  assert.deepEqual([...document.errors, ...document.warnings], [], yaml);
  const whole = document.toJS();
  return { whole, services: whole.services, yaml, warnings: draft.warnings.map(warningLine) };
}
