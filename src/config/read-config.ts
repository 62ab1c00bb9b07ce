/**
 * Reads the configuration in a child process. The libraries for YAML and schemas take 20 MB and are needed only then;
 * the heap of a worker thread would stay with the process.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { Readable } from "node:stream";
import { deserialize, serialize } from "node:v8";
import { messageOf } from "../errors.ts";
import type { Config } from "./config.ts";
import { NoConfigError } from "./default-paths.ts";
import type { ParseContext } from "./parse.ts";
import { ConfigError, type Problem } from "./yaml/config-error.ts";

/** What the child reads from its standard input. */
export interface ReadRequest {
  readonly file: string | undefined;
  readonly context: ParseContext;
}

/** What the child writes to its standard output. */
export type ReadAnswer =
  | { readonly config: Config }
  | {
      readonly invalid: { readonly message: string; readonly problems: readonly Problem[] } & Pick<
        ConfigError,
        "admin"
      >;
    }
  | { readonly missing: string };

/** Why the child did not answer. */
interface Failure {
  readonly failure: string;
}

export interface ReadOptions {
  /** The path of Node. */
  readonly execPath: string;
  /** Aborted if the configuration is no longer needed; it may still be read within 1 s. */
  readonly end: AbortSignal;
  /** Called with the reason if the file is read in this process, because no child can read it. */
  readonly onFallback?: ((reason: string) => void) | undefined;
}

/** A file of the maximum size takes up to 2 s on a fast machine. A named pipe without a writer never ends. */
const READ_MS = 30_000;
/** The same limit after the signal to end. */
const END_MS = 1_000;
/** Names of descriptors of this process: the child has others. */
const OWN_DESCRIPTOR = /^\/(dev\/(stdin|fd\/)|proc\/)/;
const PROGRAM = path.join(import.meta.dirname, `reader${path.extname(import.meta.filename)}`);

/**
 * Loads the given file, or the first of `defaultPaths` that exists. Reads in this process if the file is a descriptor of it
 * (`/dev/stdin`), no child can be started or the child ends without an answer, as at a limit of processes or descriptors.
 *
 * @throws NoConfigError if none exists, ConfigError if the file is unreadable or invalid
 */
export async function readConfig(
  file: string | undefined,
  context: ParseContext,
  options: ReadOptions,
): Promise<Config> {
  if (file !== undefined && OWN_DESCRIPTOR.test(file)) return readHere(file, context);
  const answer = await readInChild({ file, context }, options);
  if ("failure" in answer) {
    options.onFallback?.(answer.failure);
    return readHere(file, context);
  }
  if ("missing" in answer) throw new NoConfigError(answer.missing);
  if ("config" in answer) return answer.config;
  const { message, problems, admin } = answer.invalid;
  throw new ConfigError(message, problems, admin && { admin });
}

/** @throws ConfigError, also if the libraries cannot be loaded; NoConfigError */
async function readHere(file: string | undefined, context: ParseContext): Promise<Config> {
  const { loadConfig } = await import("./load.ts").catch((error: unknown) => {
    throw problem(file, messageOf(error));
  });
  return loadConfig(file, context);
}

/** @throws ConfigError if the deadline is over, or there is no answer before the end */
async function readInChild(request: ReadRequest, { execPath, end }: ReadOptions): Promise<ReadAnswer | Failure> {
  const child = spawn(execPath, ["--disable-sigusr1", PROGRAM], { stdio: ["pipe", "pipe", "ignore"] });
  const closed = once(child, "close").then(
    ([status, signal]: unknown[]) =>
      status === 0 ? undefined : `the reader ended with ${signal ?? `status ${status}`}`,
    messageOf,
  );
  // Without a free descriptor there are no pipes, against the types of Node.
  if ((child.stdout as Readable | undefined) === undefined)
    return { failure: (await closed) ?? "no pipe can be opened" };
  const give = (): boolean => child.kill("SIGKILL");
  let timer = setTimeout(give, READ_MS);
  const onEnd = (): void => {
    clearTimeout(timer);
    timer = setTimeout(give, END_MS);
  };
  end.addEventListener("abort", onEnd);
  if (end.aborted) onEnd();
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  // A child that ends early breaks the pipe; its missing answer is what counts.
  child.stdin.on("error", () => {});
  child.stdin.end(serialize(request));
  const failure = await closed;
  clearTimeout(timer);
  end.removeEventListener("abort", onEnd);
  const answer = failure === undefined ? answerIn(Buffer.concat(parts)) : { failure };
  // Also a signal to the whole process group ends the child.
  if ("failure" in answer && end.aborted) throw problem(request.file, "not read before the end of wakeport");
  if (child.killed) throw problem(request.file, `not read within ${READ_MS / 1000} s`);
  return answer;
}

/** A library that NODE_OPTIONS loads may write to the output as well. */
function answerIn(bytes: Buffer): ReadAnswer | Failure {
  try {
    return deserialize(bytes);
  } catch {
    return { failure: "the output of the reader is not an answer" };
  }
}

function problem(file: string | undefined, reason: string): ConfigError {
  const message = `${file ?? "the configuration"} error: ${reason}`;
  return new ConfigError(message, [{ message }]);
}
