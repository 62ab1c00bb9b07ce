/** Random steps that change targets, their networks and wakeport itself while clients connect. */
import { scheduler } from "node:timers/promises";
import { run } from "./compose.ts";
import type { TestContainer } from "./containers.ts";
import type { Scene } from "./scene.ts";
import type { Subject } from "./subjects.ts";

const GRACE_S = 1;
const MAX_PAUSE_MS = 1_000;

/** The random source of a step. */
interface Draw {
  readonly subject: Subject;
  /** From 0 to 1. */
  readonly chance: number;
}

/** @returns the action, if the name of the step does not contain it */
type Act<T> = (one: T, draw: Draw) => Promise<string | undefined> | Promise<void>;
/** The weight and the action of a step. */
type Entry<T> = readonly [name: string, weight: number, act: Act<T>];

export class Steps {
  readonly #scene: Scene;
  readonly #random: () => number;
  #secondIsOver: () => void = () => {};

  constructor(scene: Scene, random: () => number) {
    this.#scene = scene;
    this.#random = random;
  }

  /** Steps on a container of a target. */
  readonly #onTargets: readonly Entry<TestContainer>[] = [
    ["docker start", 8, (container) => container.start()],
    ["docker stop", 6, (container, { chance }) => this.#takeAddress(container, () => container.stop(GRACE_S), chance)],
    ["docker restart", 4, (container) => container.restart(GRACE_S)],
    ["docker kill", 6, (container) => container.kill()],
    ["docker pause", 6, (container) => container.pause()],
    ["docker unpause", 6, (container) => container.unpause()],
    ["docker rm", 6, (container, { chance }) => this.#takeAddress(container, () => container.remove(), chance)],
    ["docker rename", 6, (_, { subject }) => subject.rename()],
    ["recreate", 4, (_, { subject, chance }) => subject.recreate(chance < 0.5)],
    ["restore", 6, (_, { subject, chance }) => subject.restore(chance < 0.5)],
    ["docker exec", 6, (container, { chance }) => this.#exec(container, chance)],
    ["network move", 12, (container, { chance }) => this.#move(container, chance)],
  ];

  readonly #all: readonly Entry<undefined>[] = [
    ["wait", 10, (_, { chance }) => scheduler.wait(chance * MAX_PAUSE_MS)],
    ["kill -9 of wakeport", 5, (_, { chance }) => this.#restart("SIGKILL", chance)],
    ["SIGTERM of wakeport", 2, (_, { chance }) => this.#restart("SIGTERM", chance)],
    ["second wakeport", 3, (_, { chance }) => this.#second(chance)],
    ["compose-like down and up", 1, (_, { chance }) => this.#downAndUp(chance)],
    ["docker compose", 1, (_, { chance }) => this.#dockerCompose(chance)],
    ["docker container prune", 1, (_, { chance }) => this.#prune(chance)],
    ["copied labels", 4, (_, { chance }) => this.#copyLabels(chance)],
    ...this.#onTargets.map(
      ([name, weight, act]): Entry<undefined> => [name, weight, (_, draw) => this.#onTarget(act, draw)],
    ),
  ];
  /** Each step repeated by its weight. */
  readonly #lots: readonly Entry<undefined>[] = this.#all.flatMap((entry) =>
    Array<Entry<undefined>>(entry[1]).fill(entry),
  );

  /** Takes one step. @returns the action */
  async next(): Promise<string> {
    const [name, , act] = oneOf(this.#lots, this.#random());
    const draw = { subject: oneOf(this.#scene.subjects, this.#random()), chance: this.#random() };
    try {
      return (await act(undefined, draw)) ?? name;
    } catch (error) {
      // Such as a start of a removed container, or a pause of a stopped one.
      if (isRefusal(error)) return `${name} (refused)`;
      throw error;
    }
  }

  async #onTarget(act: Act<TestContainer>, draw: Draw): Promise<string | undefined> {
    const { subject, chance } = draw;
    return this.#scene.disturbances.during(subject.disturbs, async () => {
      const found = await subject.find();
      if (found !== undefined) return (await act(found, draw)) ?? undefined;
      await subject.restore(chance < 0.5);
      return "create";
    });
  }

  async #restart(signal: "SIGKILL" | "SIGTERM", chance: number): Promise<void> {
    const { first, disturbances } = this.#scene;
    await disturbances.during("all", async () => {
      await first.end(signal);
      await scheduler.wait((chance * MAX_PAUSE_MS) / 2);
      await first.start();
    });
  }

  /** While the second wakeport runs, it may stop targets that clients of the first one barely use. */
  async #second(chance: number): Promise<string> {
    const { second, disturbances } = this.#scene;
    if (!second.isUp) {
      this.#secondIsOver = disturbances.begin("all");
      await second.start();
      return "start of a second wakeport";
    }
    const signal = chance < 0.5 ? "SIGKILL" : "SIGTERM";
    await second.end(signal);
    this.#secondIsOver();
    return `${signal} of the second wakeport`;
  }

  async #downAndUp(chance: number): Promise<void> {
    const { subjects, project, disturbances } = this.#scene;
    const members = subjects.filter(({ service }) => project.includes(service));
    await disturbances.during(project, async () => {
      for (const member of members) await (await member.find())?.stop(GRACE_S).catch(() => {});
      for (const member of members) await (await member.find())?.remove();
      await scheduler.wait(chance * MAX_PAUSE_MS);
      await Promise.all(members.map((member) => member.restore(chance < 0.5)));
    });
  }

  async #dockerCompose(chance: number): Promise<string> {
    const { composed, disturbances } = this.#scene;
    return disturbances.during(composed.disturbs, async () => {
      if (chance < 0.4) {
        await composed.compose("down", "--timeout", "1");
        await composed.compose("up", "-d");
        return "docker compose down and up";
      }
      if (chance < 0.7) {
        await composed.recreate(true);
        return "docker compose up --force-recreate";
      }
      await composed.compose("restart", "--timeout", "1");
      return "docker compose restart";
    });
  }

  /** Removes stopped containers of this test only: other tests use the same engine. */
  async #prune(chance: number): Promise<void> {
    const { lab, subjects, disturbances } = this.#scene;
    const [[key, value] = []] = Object.entries(lab.engine.label);
    if (key === undefined || value === undefined) throw new Error("a prune without a filter would remove all");
    await disturbances.during("all", async () => {
      await run("docker", ["container", "prune", "--force", "--filter", `label=${key}=${value}`]);
      await scheduler.wait((chance * MAX_PAUSE_MS) / 2);
      for (const subject of subjects) await subject.restore(chance < 0.3);
    });
  }

  /** A container with all labels of a target exists for some time, running or only created. */
  async #copyLabels(chance: number): Promise<string | undefined> {
    const { labels, subjects, foreigners, disturbances } = this.#scene;
    const [service, copied] = oneOf([...labels], chance);
    const subject = subjects.find((one) => one.service === service);
    // The target must be the only container with these compose labels.
    if (subject === undefined || (await subject.find()) === undefined) return "copied labels (no target)";
    const fraction = (chance * labels.size) % 1;
    await disturbances.during(subject.disturbs, async () => {
      const copy = await this.#scene.copyOf(copied);
      if (fraction < 0.7) await copy.start();
      await scheduler.wait(fraction * 2 * MAX_PAUSE_MS);
      await foreigners.remove(copy);
    });
    return undefined;
  }

  async #exec({ id }: TestContainer, chance: number): Promise<void> {
    const exec = await this.#scene.lab.engine.docker.getContainer(id).exec({ Cmd: ["sleep", String(1 + chance * 2)] });
    await exec.start({ Detach: true });
  }

  /** The target gets another address, and a foreign container its old address; sometimes the target has none for some time. */
  async #move(container: TestContainer, chance: number): Promise<void> {
    const { lab, network: name } = this.#scene;
    const address = await container.address(name);
    const network = lab.engine.docker.getNetwork(name);
    await network.disconnect({ Container: container.id, Force: true });
    try {
      if (address !== "") await this.#squat(address);
      if (chance < 0.3) await scheduler.wait(chance * 2 * MAX_PAUSE_MS);
    } finally {
      await network.connect({ Container: container.id });
    }
  }

  /** Stops a container; sometimes the foreign container gets its address at once. */
  async #takeAddress(container: TestContainer, end: () => Promise<void>, chance: number): Promise<void> {
    const address = await container.address(this.#scene.network);
    await end();
    if (address !== "" && chance < 0.5) await this.#squat(address);
  }

  async #squat(IPv4Address: string): Promise<void> {
    const { lab, network: name, squatter } = this.#scene;
    const network = lab.engine.docker.getNetwork(name);
    await network.disconnect({ Container: squatter.id, Force: true }).catch(() => {});
    await network.connect({ Container: squatter.id, EndpointConfig: { IPAMConfig: { IPv4Address } } });
  }
}

function oneOf<T>(all: readonly T[], chance: number): T {
  return all[Math.floor(chance * all.length)]!;
}

/** Returns true for a refusal by the engine or docker compose. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && ("statusCode" in error || "cmd" in error);
}
