import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import { delay } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { type ContainerAddress, findAddress } from "../docker/find-address.ts";
import { sentenceOf, TargetError } from "../errors.ts";
import { ContainerFinder } from "./container-finder.ts";
import { incarnationOf, KILLED } from "./container-incarnation.ts";
import type { ContainerOptions, ContainerSettings } from "./container-options.ts";
import { ContainerStarter } from "./container-starter.ts";
import { ContainerStopper } from "./container-stopper.ts";
import { addressesOf, DirectUse, openConnections } from "./direct-use.ts";
import { followLog, startOfLog } from "./follow-log.ts";
import { LAST_LINES } from "./lines.ts";
import { ReplacementWatch } from "./replacement-watch.ts";

/** The engine may record that memory ran out only after it recorded the exit. */
const OOM_RECORDED_MS = 300;

/** A Docker container as a target. */
export class ContainerTarget implements Target {
  readonly name: string;
  #options: ContainerOptions;
  readonly #replacement = new ReplacementWatch();
  readonly #finder: ContainerFinder;
  readonly #stopper: ContainerStopper;
  readonly #starter: ContainerStarter;
  readonly #directUse: DirectUse;
  /** The last incarnation that was inspected twice because it ended by SIGKILL. */
  #inspectedTwice: string | undefined;

  constructor(options: ContainerOptions) {
    this.#options = options;
    this.name = options.name;
    const current = (): ContainerOptions => this.#options;
    this.#finder = new ContainerFinder(current, this.#replacement);
    this.#stopper = new ContainerStopper(current, this.#finder, this.#replacement);
    this.#starter = new ContainerStarter(current, this.#finder, this.#stopper, this.#replacement);
    this.#directUse = new DirectUse(options.engine);
  }

  /** Replaces the settings. */
  configure({ isNamed, requiredLabel, network, graceMs }: ContainerSettings): void {
    this.#options = { ...this.#options, isNamed, requiredLabel, network, graceMs };
    this.#finder.forget();
  }

  /** Allows another target to own the container. */
  release(): void {
    this.#finder.release();
  }

  /** Whether this target owns the container with this id. Looks its container up if that was not done yet. @throws TargetError */
  async isOwnerOf(id: string, signal: AbortSignal): Promise<boolean> {
    if (this.#options.owners.get(id) === this.#finder) return true;
    if (this.#finder.seen !== undefined) return false;
    try {
      return (await this.inspectOnce(signal))?.id === id;
    } catch (error) {
      // An invalid reference is reported when its service is woken.
      if (error instanceof TargetError && error.fault === "invalid") return false;
      throw error;
    }
  }

  get graceMs(): number {
    return this.#stopper.graceMs;
  }

  async inspect(signal: AbortSignal): Promise<TargetStatus> {
    const status = await this.#status(signal);
    const renamed = await this.#finder.renamed(signal);
    return renamed === undefined ? status : { ...status, renamed };
  }

  async #status(signal: AbortSignal): Promise<TargetStatus> {
    const first = await this.#finder.findRenamed(signal);
    const facts = first instanceof TargetError ? first : await this.#inspectTwice(first, signal);
    if (facts instanceof TargetError) return { up: false, missing: sentenceOf(facts) };
    if (!facts.isRunning) return this.#down(facts);
    if (this.#starter.mayRestart) return { up: false, isRestarting: true };
    const { address, ipv6, caveat, noRoute, holderIncarnation = "" } = await this.#address(facts, signal);
    const incarnation = `${incarnationOf(facts)} ${holderIncarnation}`;
    if (facts.isPaused) return { up: false, pausedIncarnation: incarnation };
    const { health } = facts;
    return {
      up: true,
      address,
      incarnation,
      ...(ipv6 !== undefined && { ipv6 }),
      ...(noRoute !== undefined && { noRoute }),
      ...(caveat !== undefined && { caveat }),
      ...(health !== undefined && { health }),
    };
  }

  /** Returns the container as it is now. @throws TargetError, "missing" if it does not exist */
  async facts(signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.#finder.find(signal);
    if (facts instanceof TargetError) throw facts;
    return facts;
  }

  /** Returns undefined if the container does not exist. Neither stores nor registers the result. @throws TargetError */
  async inspectOnce(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    const facts = await this.#finder.lookUp(signal);
    return facts instanceof TargetError ? undefined : facts;
  }

  start(signal: AbortSignal): Promise<"started" | "already"> {
    return this.#starter.start(signal);
  }

  /** Returns the container that `start` would start. Waits if it is being replaced. @throws TargetError */
  findStartable(signal: AbortSignal): Promise<ContainerFacts> {
    return this.#starter.findStartable(signal);
  }

  async keptAwakeBy(
    trafficBytes: number | undefined,
    signal: AbortSignal,
    { isBaseline = false, isHeld = false, isTrafficKnown = false, action = "stop" }: UseMoment = {},
  ): Promise<readonly string[]> {
    if (isBaseline) return this.#readTraffic(trafficBytes, signal);
    const facts = await this.#finder.find(signal);
    if (facts instanceof TargetError || !facts.isRunning) return [];
    const limit = isTrafficKnown ? undefined : trafficBytes;
    const [reasons, uses, connections] = await Promise.all([
      // A stop would end the network that a paused target uses. A pause would not.
      isHeld ? [] : this.#stopper.reasonsAgainst(facts, signal, action !== "pause"),
      facts.isPaused ? [] : this.#directUse.find(facts, limit, signal),
      facts.isPaused || isHeld || trafficBytes === undefined ? [] : openConnections(facts, this.#pausedAddresses),
    ]);
    return [...reasons, ...uses, ...connections];
  }

  /** Reads the traffic up to now. @returns no use */
  async #readTraffic(trafficBytes: number | undefined, signal: AbortSignal): Promise<readonly string[]> {
    if (trafficBytes === undefined) return [];
    const facts = this.#finder.known ?? (await this.#finder.find(signal));
    if (facts instanceof TargetError || !facts.isRunning || facts.isPaused) return [];
    await this.#directUse.readTraffic(facts, signal);
    return [];
  }

  /** Addresses of paused targets. Their connections are open, but unused until wakeport wakes them. */
  get #pausedAddresses(): readonly string[] {
    const seen = [...new Set(this.#options.owners.values())].flatMap((owner) => owner.seen ?? []);
    return seen.filter(({ isPaused }) => isPaused).flatMap(addressesOf);
  }

  sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    return this.#stopper.sleep(action, signal);
  }

  async lastLines(signal: AbortSignal, limit: number = LAST_LINES): Promise<readonly string[]> {
    try {
      const facts = await this.facts(signal);
      // Lines of earlier incarnations are left out. The start of an incarnation that has ended is unknown.
      const begin = facts.isRunning ? { since: startOfLog(facts) / 1000 } : {};
      return await this.#options.engine.logs.tail(facts, { lines: limit, ...begin }, signal);
    } catch {
      // Socket proxies usually deny logs. The failure itself is reported without them.
      return [];
    }
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const facts = this.#finder.known ?? (await this.facts(signal));
    if (incarnation.startsWith(incarnationOf(facts))) await followLog(this.#options.engine, facts, onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    const watch = new DisposableStack();
    watch.use(this.#finder.watch(onChange));
    watch.use(this.#options.events.watch((event) => this.#onEvent(event)));
    return watch;
  }

  #onEvent(event: ContainerEvent | undefined): void {
    const isOurs = event !== undefined && this.#finder.concerns(event);
    if (isOurs) this.#replacement.onEvent(event);
    if (isOurs) this.#stopper.onEvent(event);
    if (event === undefined || isOurs || this.#finder.concernsPrevious(event)) this.#finder.onEvent(event);
  }

  async #address(facts: ContainerFacts, signal: AbortSignal): Promise<ContainerAddress> {
    const { network } = this.#options;
    return network === undefined ? { address: "" } : findAddress(facts, { ...this.#options, network }, signal);
  }

  #down(facts: ContainerFacts): TargetStatus {
    const stopRequested = this.#replacement.isStoppedByOthers(facts.id);
    const exit = {
      code: facts.exitCode,
      oomKilled: facts.oomKilled,
      ...(stopRequested && { stopRequested }),
    };
    // For a container that never ran, the engine returns a date in the year 1.
    const endedAt = Date.parse(facts.finishedAt);
    return { up: false, exit, isRestarting: facts.isRestarting, ...(endedAt > 0 && { endedAt }) };
  }

  /** Inspects the container again if it ended by SIGKILL and neither wakeport nor an event explains the end. */
  async #inspectTwice(facts: ContainerFacts, signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const isUnclear = !facts.isRunning && facts.exitCode === KILLED && !facts.oomKilled;
    const incarnation = incarnationOf(facts);
    if (!isUnclear || this.#replacement.isStopRequested(facts.id) || this.#inspectedTwice === incarnation) return facts;
    this.#inspectedTwice = incarnation;
    await delay(OOM_RECORDED_MS, signal);
    return this.#finder.findRenamed(signal);
  }
}
