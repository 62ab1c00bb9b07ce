import { type Command, exitCode } from "./command.ts";

export const command: Command = {
  usage: "",
  options: {},
  help: "Prints the versions of wakeport and Node.",
  run: async (_options, { version, revision, nodeVersion, print }) => {
    // Only an image that was built with REVISION contains a revision.
    print(`wakeport ${version}${revision === "unknown" ? "" : ` (${revision})`} node ${nodeVersion}`);
    return exitCode.ok;
  },
};
