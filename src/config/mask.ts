/**
 * Masks secrets in commands and URLs that are shown. They are recognized by the names of options and variables, and by
 * their position in a URL; in doubt, text is masked. docs/security.md lists the rules.
 */

const MASK = "***";
/** Limit of a word, in characters. */
const MAX_WORD = 1_000;

/** The end of a name, in lower case and without separators: `--db-password`, `PGPASSWORD`, `requirepass`. */
const SECRET_NAME =
  /(?:pass(?:word|wd|phrase|code)?|pwd|secrets?|token|credentials?|auth|authorization|cookie|bearer|(?:api|access|private|secret|account|encryption|signing|master|license)key|keybase|connectionstring)$/;

/** Programs whose password option has no secret name. `joined`: the value is never a separate word. */
const passwordOptions: readonly { readonly program: RegExp; readonly options: RegExp; readonly joined?: true }[] = [
  { program: /^(?:mysql|mariadb)[a-z-]*$/, options: /^-p/, joined: true },
  { program: /^(?:sshpass|mongo[a-z]*)$/, options: /^-p/ },
  { program: /^redis-cli$/, options: /^-a/ },
  { program: /^curl$/, options: /^(?:-[uU]|--(?:proxy-)?user(?:=|$))/ },
  { program: /^ldap[a-z]+$/, options: /^-w/ },
  { program: /^(?:smb[a-z]+|rpcclient)$/, options: /^-U/ },
  { program: /^(?:mosquitto_[a-z]+|sqlcmd)$/, options: /^-P/ },
];

/** Words of shell text. Blanks in quotes do not separate. */
const WORD = /(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\]|["'\\])+/gs;
/** `--name=`, `NAME=`, `name:`, also in quotes. */
const NAMED = /^(["']?-{0,2}([\w.-]+)["']?\s*[=:]\s*)(.+)$/s;
const OPTION = /^--?([a-z][\w.-]*)$/i;
const PASSWORD_IN_URL = /([a-z][a-z0-9+.-]*:\/\/[^\s/'"@:]*:)[^\s'"]*@/gi;
const TOKEN_IN_URL = /(https?:\/\/)[^\s/'"@:]+@/gi;
const PAIR_IN_QUERY = /([?&])([\w.-]+)=([^&\s'"#]+)/g;
const PAIR_IN_TEXT = /([\w.-]+)(["']?\s*[=:]\s*)("(?:[^"\\]|\\.)*"|(?:bearer|basic|token)\s+\S+|[^\s&]+)/gi;

/** `password: `, `"password": `, `PASSWORD=` */
const KEY_IN_LINE = /(?<![\w.-])-{0,2}([\w.-]+)["']?(?:\s*:\s+|=)/g;
/** `--password, `, `--password ` */
const OPTION_IN_LINE = /(?<![\w-])--?([a-z][\w.-]*)["']?\s*(?:,\s*|\s)/gi;
const VALUE_IN_LINE = /"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',}\]][^,}\]]*/y;

/** Returns the words of a command with each secret replaced by `***`. */
export function maskCommand(words: readonly string[]): string[] {
  let isNext = false;
  let known: (typeof passwordOptions)[number] | undefined;
  return words.map((word) => {
    const isValue = isNext;
    isNext = false;
    if (isValue && !word.startsWith("--")) return MASK;
    known = passwordOptions.find(({ program }) => program.test(word.split("/").pop() ?? "")) ?? known;
    const [short] = known?.options.exec(word) ?? [];
    if (short !== undefined) {
      if (word.length > short.length) return `${short}${MASK}`;
      isNext = known?.joined === undefined;
      return word;
    }
    const [, option = ""] = OPTION.exec(word) ?? [];
    isNext = isSecret(option);
    return maskWord(word.slice(0, MAX_WORD));
  });
}

/** Masks the password and the secrets in the query of a URL, or of the path of one. */
export function maskUrl(url: string): string {
  return url
    .replace(PASSWORD_IN_URL, `$1${MASK}@`)
    .replace(TOKEN_IN_URL, `$1${MASK}@`)
    .replace(PAIR_IN_QUERY, (all, before, name) => (isSecret(name) ? `${before}${name}=${MASK}` : all));
}

/** Masks the secrets in a line of a configuration: values of keys, variables, and options in a list. */
export function maskLine(line: string): string {
  return hideAfter(OPTION_IN_LINE, hideAfter(KEY_IN_LINE, maskUrl(line)));
}

/** Masks the values that follow the secret names which `name` matches. */
function hideAfter(name: RegExp, line: string): string {
  let [shown, from] = ["", 0];
  for (const found of line.matchAll(name)) {
    const start = found.index + found[0].length;
    VALUE_IN_LINE.lastIndex = start;
    const value = start > from && isSecret(found[1] ?? "") ? VALUE_IN_LINE.exec(line) : null;
    if (value === null) continue;
    shown += `${line.slice(from, start)}${MASK}`;
    from = start + value[0].length;
  }
  return shown + line.slice(from);
}

function maskWord(word: string): string {
  const [, start = "", name = "", value = ""] = NAMED.exec(word) ?? [];
  if (isSecret(name)) return `${start}${MASK}`;
  if (start !== "" && !value.startsWith("//")) return `${start}${maskWord(value)}`;
  const words = word.match(WORD) ?? [];
  // Shell text, or several settings in one word.
  if (words.length > 1) {
    const masked = maskCommand(words)[Symbol.iterator]();
    return word.replace(WORD, () => masked.next().value ?? "");
  }
  const [, quote = "", inner = ""] = /^(["'])(.*\s.*)\1$/s.exec(word) ?? [];
  if (quote !== "") return `${quote}${maskWord(inner)}${quote}`;
  return maskUrl(word).replace(PAIR_IN_TEXT, (all, key, sign) => (isSecret(key) ? `${key}${sign}${MASK}` : all));
}

function isSecret(name: string): boolean {
  return SECRET_NAME.test(name.toLowerCase().replaceAll(/[-_.]/g, ""));
}
