import { systemPortNames } from "../config/values/etc-services.ts";
import { suggest } from "../config/yaml/suggest.ts";
import { type Draft, renderDraft, warningLine } from "../import/draft.ts";
import { convertInetd } from "../import/inetd.ts";
import { ImportError, systemSources } from "../import/sources.ts";
import { convertXinetd } from "../import/xinetd.ts";
import { readXinetd } from "../import/xinetd-parser.ts";
import { type Command, type Context, exitCode } from "./command.ts";

const context = { names: systemPortNames, sources: systemSources };

/** Imports the files of xinetd with their includes, and the files of inetd one by one. */
const kinds: Readonly<Record<string, (paths: readonly string[]) => Draft>> = {
  xinetd: (paths) => convertXinetd(readXinetd(paths, systemSources), context),
  inetd: (paths) => convertInetd(paths, context),
};

export const command: Command = {
  usage: "xinetd|inetd PATH…",
  options: {},
  takesArguments: true,
  help: `Converts these files to a wakeport.yaml on standard output. A comment after each key names its original line. Warnings
about differences and about lines that are not converted appear on standard error and in the file.

  wakeport import xinetd /etc/xinetd.conf > wakeport.yaml
  wakeport import xinetd /etc/xinetd.d            # a folder, as includedir reads it
  wakeport import inetd /etc/inetd.conf > wakeport.yaml

Exits with 2 if a file cannot be read, and with 1 if it contains no service.`,
  run: async (_options, context, [kind, ...paths]) => {
    const convert = kind !== undefined && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    if (convert === undefined || paths.length === 0) return printUsage(kind, context);
    try {
      return write(convert(paths), paths, context);
    } catch (error) {
      if (!(error instanceof ImportError)) throw error;
      context.printError(`wakeport import: ${error.message}`);
      return exitCode.usage;
    }
  },
};

function printUsage(kind: string | undefined, context: Context): number {
  const similar = kind === undefined ? undefined : suggest(kind, Object.keys(kinds));
  const isKnown = kind !== undefined && Object.hasOwn(kinds, kind);
  const hint = similar === undefined ? "write xinetd or inetd before the files" : `did you mean "${similar}"?`;
  const problem = kind === undefined || isKnown ? "name the files to import" : `cannot import "${kind}": ${hint}`;
  context.printError(`wakeport import: ${problem}\nusage: wakeport import ${command.usage}`);
  return exitCode.usage;
}

function write(draft: Draft, paths: readonly string[], { printData, printError, version }: Context): number {
  const head = `Converted by wakeport ${version} from ${paths.join(" ")}.`;
  printData(renderDraft({ ...draft, remarks: [head, ...draft.remarks] }).trimEnd());
  for (const warning of draft.warnings) printError(`warning: ${warningLine(warning)}`);
  const imported = draft.services.filter(({ keys }) => keys !== undefined).length;
  if (imported === 0) printError(`wakeport import: no service imported from ${paths.join(" ")}`);
  return imported === 0 ? exitCode.failed : exitCode.ok;
}
