/**
 * A real browser without a window, controlled through the DevTools protocol.
 *
 * @see https://chromedevtools.github.io/devtools-protocol/
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { within } from "../../../src/async/wait.ts";
import { eventually } from "../eventually.ts";

/** A busy machine starts a browser slowly, and targets may be slow on purpose. */
const PATIENCE_MS = 60_000;

/** A call whose page is closed meanwhile may never return. */
const CALL_MS = 10_000;

/** The reason that there is no browser; false if there is one, or if one is required. */
export async function cannotBrowse(): Promise<string | false> {
  if (process.env["WAKEPORT_TEST_BROWSER"] === "required") return false;
  const version = await promisify(execFile)("chromium", ["--version"]).catch(() => undefined);
  return version === undefined ? "NO BROWSER: test/engine/tools brings chromium" : false;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly entry?: { readonly text: string } };
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** One browser with one window. */
export class Chromium implements AsyncDisposable {
  /** Its error messages: blocked by a policy, failed, not found. */
  readonly complaints: string[] = [];
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  #socket: WebSocket | undefined;
  #page: string | undefined;
  #calls = 0;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
  }

  static async open(): Promise<Chromium> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
    const quiet = ["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"];
    const child = spawn("chromium", [...flags, ...quiet, `--user-data-dir=${folder}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const browser = new Chromium(child, folder);
    const listening = Promise.withResolvers<string>();
    createInterface({ input: child.stderr }).on("line", (line) => {
      const [, url] = /^DevTools listening on (ws:.*)$/.exec(line) ?? [];
      if (url !== undefined) listening.resolve(url);
    });
    child.once("exit", (code) => listening.reject(new Error(`chromium exited with ${code}`)));
    await browser.#connect(await listening.promise);
    return browser;
  }

  /** Opens an address as if it were typed; does not wait for the page. */
  async goTo(url: string): Promise<void> {
    await this.#call("Page.navigate", { url }, PATIENCE_MS);
  }

  /** Disables the scripts of pages. */
  async withoutScripts(): Promise<void> {
    await this.#call("Emulation.setScriptExecutionDisabled", { value: true });
  }

  /** Runs an expression in the page. */
  async evaluate(expression: string): Promise<string> {
    const { result } = (await this.#call("Runtime.evaluate", { expression, userGesture: true })) as {
      readonly result: { readonly value?: unknown };
    };
    return String(result.value);
  }

  /** Sets a cookie of a site. */
  async setCookie(cookie: Readonly<Record<"url" | "name" | "value" | "sameSite", string>>): Promise<void> {
    await this.#call("Network.setCookie", cookie);
  }

  /** Saves a screenshot. */
  async shoot(file: string): Promise<void> {
    const { data } = (await this.#call("Page.captureScreenshot")) as { readonly data: string };
    await writeFile(file, Buffer.from(data, "base64"));
  }

  /** The title of the tab. */
  title(): Promise<string> {
    return this.evaluate("document.title");
  }

  /** The visible text. */
  text(): Promise<string> {
    return this.evaluate("document.body.innerText");
  }

  /** The visible elements that match a selector, one per line; empty while there is no page. */
  seen(tag: string): Promise<string> {
    const all = `[...document.querySelectorAll(${JSON.stringify(tag)})]`;
    return this.evaluate(`${all}.filter((one) => one.checkVisibility()).map((one) => one.innerText).join("\\n")`).catch(
      () => "",
    );
  }

  /** Waits until a page with this title is shown. */
  async shows(title: string): Promise<void> {
    await eventually(
      `the page "${title}" is shown`,
      // During a navigation there is no page.
      () =>
        this.title().then(
          (now) => now === title,
          () => false,
        ),
      PATIENCE_MS,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#socket?.close();
    this.#child.kill();
    await exited;
    await rm(this.#folder, { recursive: true, maxRetries: 10 });
  }

  async #connect(url: string): Promise<void> {
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(data) as Message));
    await once(socket, "open");
    const { targetId } = (await this.#call("Target.createTarget", { url: "about:blank" })) as { targetId: string };
    const attached = await this.#call("Target.attachToTarget", { targetId, flatten: true });
    this.#page = (attached as { sessionId: string }).sessionId;
    await this.#call("Log.enable");
    await this.#call("Page.enable");
  }

  #call(method: string, params: object = {}, patienceMs: number = CALL_MS): Promise<unknown> {
    const id = ++this.#calls;
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(id, answer);
    this.#socket?.send(JSON.stringify({ id, method, params, ...(this.#page && { sessionId: this.#page }) }));
    return within(patienceMs, method, answer.promise);
  }

  #receive({ id, method, params, result, error }: Message): void {
    if (method === "Log.entryAdded") this.complaints.push(params?.entry?.text ?? "");
    const answer = this.#answers.get(id ?? 0);
    this.#answers.delete(id ?? 0);
    if (error === undefined) answer?.resolve(result);
    else answer?.reject(new Error(error.message));
  }
}
