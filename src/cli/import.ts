import { systemPortNames } from "../config/values/etc-services.ts";
import { suggest } from "../config/yaml/suggest.ts";
import { type Draft, renderDraft, warningLine } from "../import/draft.ts";
import { convertInetd } from "../import/inetd.ts";
import { ImportError, systemSources } from "../import/sources.ts";
import { convertXinetd } from "../import/xinetd.ts";
import { readXinetd } from "../import/xinetd-parser.ts";
import { type Command, type Context, exitCode } from "./command.ts";

const context = { names: systemPortNames, sources: systemSources };

/** What can be imported: xinetd's files with all that they include, inetd's one by one. */
const kinds: Readonly<Record<string, (paths: readonly string[]) => Draft>> = {
  xinetd: (paths) => convertXinetd(readXinetd(paths, systemSources), context),
  inetd: (paths) => convertInetd(paths, context),
};

export const command: Command = {
  usage: "xinetd|inetd PATH…",
  options: {},
  takesArguments: true,
  help: `Writes a wakeport.yaml that does what these files make xinetd or inetd do, on standard output; each key has the line that
it came from. What has no meaning here, or another one, is told on standard error and in the file.

  wakeport import xinetd /etc/xinetd.conf > wakeport.yaml
  wakeport import xinetd /etc/xinetd.d            # a folder, as includedir reads it
  wakeport import inetd /etc/inetd.conf > wakeport.yaml

Exits 2 when a file cannot be read, 1 when there is no service in it.`,
  run: async (_options, context, [kind, ...paths]) => {
    const convert = kind !== undefined && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    if (convert === undefined || paths.length === 0) return misused(kind, context);
    try {
      return write(convert(paths), paths, context);
    } catch (error) {
      if (!(error instanceof ImportError)) throw error;
      context.printError(`wakeport import: ${error.message}`);
      return exitCode.usage;
    }
  },
};

function misused(kind: string | undefined, context: Context): number {
  const near = kind === undefined ? undefined : suggest(kind, Object.keys(kinds));
  const isKnown = kind !== undefined && Object.hasOwn(kinds, kind);
  const hint = near === undefined || isKnown ? "" : `: did you mean "${near}"?`;
  const fault = kind === undefined || isKnown ? "name the files to import" : `cannot import "${kind}"${hint}`;
  context.printError(`wakeport import: ${fault}\nusage: wakeport import ${command.usage}`);
  return exitCode.usage;
}

function write(draft: Draft, paths: readonly string[], { printData, printError, version }: Context): number {
  const head = `Made by wakeport ${version} of ${paths.join(" ")}.`;
  printData(renderDraft({ ...draft, remarks: [head, ...draft.remarks] }).trimEnd());
  for (const warning of draft.warnings) printError(`warning: ${warningLine(warning)}`);
  const served = draft.services.filter(({ keys }) => keys !== undefined).length;
  if (served === 0) printError(`wakeport import: there is no service to import in ${paths.join(" ")}`);
  return served === 0 ? exitCode.failed : exitCode.ok;
}
