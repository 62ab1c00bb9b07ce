import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { engineVersion } from "./engine.ts";

const exec = promisify(execFile);
export const COMMAND_MS = 60_000;
/** Images may have to be built. */
export const BUILD_MS = 280_000;

const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";

/** Returns false if an example can run or is required, otherwise the reason. @param tools required programs, with arguments that make them exit 0 */
export async function cannotCompose(...tools: readonly (readonly [string, ...string[]])[]): Promise<string | false> {
  if (isRequired) return false;
  if ((await engineVersion()) === undefined) return "NO DOCKER ENGINE: as root on Debian, test/engine/up brings one";
  for (const [file, ...args] of [["docker", "compose", "version"] as const, ...tools]) {
    if (!(await succeeds(file, ...args))) return `NO ${file} ${args[0]}: test/engine/up and test/engine/tools bring it`;
  }
  return false;
}

/** Returns the output of a command. @throws if it fails, or runs longer than `timeout` milliseconds */
export async function run(file: string, args: readonly string[], timeout: number = COMMAND_MS): Promise<string> {
  const { stdout } = await exec(file, args, { timeout, maxBuffer: 64 << 20 });
  return stdout;
}

export async function succeeds(file: string, ...args: string[]): Promise<boolean> {
  return run(file, args).then(
    () => true,
    () => false,
  );
}

/** Other ports for compose/web, and the label by which test/engine/up finds leftovers. */
export function webOverrides({ web, admin }: { readonly web: number; readonly admin: number }): string {
  const labels = 'labels: { wakeport-test: "e2e" }';
  return `
services:
  wakeport:
    ports: !override ["127.0.0.1:${web}:8080", "127.0.0.1:${admin}:9464"]
    ${labels}
  app: { ${labels} }
  docs: { ${labels} }
  preview: { ${labels} }
networks:
  default: { ${labels} }
`;
}
