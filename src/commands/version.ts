import { type Command, exitCode } from "./command.ts";

export const command: Command = {
  usage: "",
  options: {},
  help: "Prints the versions of wakeport and of the Node it runs on.",
  run: async (_options, { version, revision, nodeVersion, print }) => {
    print(`wakeport ${version} (${revision}) node ${nodeVersion}`);
    return exitCode.ok;
  },
};
