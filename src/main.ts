/**
 * The process: signals, uncaught errors and the exit code. The rest of the program is loaded after the handlers are set:
 * a signal without a handler ends the process.
 */
import process from "node:process";
import { isatty } from "node:tty";
import type { Signals } from "./context.ts";

/** Replaces the default actions of the signals that wakeport handles. */
function handleSignals(): Signals {
  const shutdown = new AbortController();
  const end = (): void => {
    // A second signal exits immediately.
    if (shutdown.signal.aborted) process.exit(1);
    shutdown.abort();
  };
  for (const name of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) process.on(name, end);
  const reloads = new Set<() => void>();
  const isServer = process.argv[2] === "run";
  let isRequested = false;
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on("SIGHUP", () => {
    // The kernel sends SIGHUP when the terminal is closed. Otherwise the signal requests a reload.
    const isHungUp = terminals.some((fd) => !isatty(fd));
    if (isHungUp || !isServer) end();
    else if (reloads.size === 0) isRequested = true;
    else for (const act of reloads) act();
  });
  // The default action of SIGUSR2 ends the process, and only `run` replaces it.
  process.on("SIGUSR2", () => {});
  return {
    shutdown: shutdown.signal,
    onReload: (act) => {
      reloads.add(act);
      // The file may have been read before the signal.
      if (isRequested) act();
    },
    onStatusRequest: (act) => process.on("SIGUSR2", act),
  };
}

const signals = handleSignals();

// An uncaught error is a bug, and the state may be inconsistent. The supervisor restarts wakeport.
process.on("uncaughtException", (error) => {
  process.stderr.write(`wakeport: internal error, please report it: ${error.stack ?? error.message}\n`);
  process.exit(1);
});

// A closed reader (wakeport check | head) is not an error.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

// Without top-level await, the build is CommonJS, which takes less time and memory to load.
void Promise.all([import("./context.ts"), import("./cli/cli.ts")])
  .then(([{ contextOf }, { runCommand }]) => runCommand(process.argv.slice(2), contextOf(signals)))
  .then((code) => process.exit(code));
