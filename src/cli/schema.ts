import { jsonSchema } from "../config/schema.ts";
import { type Command, exitCode } from "./command.ts";

export const command: Command = {
  usage: "",
  options: {},
  help: `Prints the JSON Schema (draft-07) of wakeport.yaml. Editors use it to complete and check keys:

  wakeport schema > wakeport.schema.json
  # first line of wakeport.yaml:  # yaml-language-server: $schema=./wakeport.schema.json`,
  run: async (_options, context) => {
    context.printData(JSON.stringify(jsonSchema(), null, 2));
    return exitCode.ok;
  },
};
