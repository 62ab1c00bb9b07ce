import { ambiguousContainers } from "../docker/compose-service.ts";
import { type ListedContainer, projectLabel, serviceLabel } from "../docker/container-facts.ts";
import { isFor } from "../docker/created-containers.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { sentenceOf, TargetError } from "../errors.ts";
import type { ContainerOptions } from "./container-options.ts";

/** Resolves a target's reference to the name or id of a container. */
export class ReferenceResolver {
  readonly #options: () => ContainerOptions;
  #reportedAmbiguity: string | undefined;

  constructor(options: () => ContainerOptions) {
    this.#options = options;
  }

  /** Returns an error if no container matches, else its name or id. @throws TargetError */
  async resolve(signal: AbortSignal): Promise<string | TargetError> {
    const { name, reference, engine, requiredLabel } = this.#options();
    if ("name" in reference) return reference.name;
    if ("createdFor" in reference) {
      const message = `no container was created for service "${reference.createdFor}"`;
      return (await reference.find(signal)) ?? new TargetError("missing", message);
    }
    const project = reference.project ?? (await this.#ownProject(signal));
    const containers = await engine.findComposeService(project, reference.service, signal);
    const ambiguous = ambiguousContainers(containers);
    if (ambiguous.length > 0) return this.#ambiguity(ambiguous);
    const [first] = containers;
    if (first !== undefined && requiredLabel !== undefined && !hasLabel(first, requiredLabel)) {
      const problem = `${first.name} is the first container of ${name}, and has no label ${requiredLabel}=true`;
      return new TargetError("missing", problem, { remedy: "remove the containers that compose did not create" });
    }
    if (first !== undefined) return first.id;
    const message = `compose project "${project}" has no container of service "${reference.service}"`;
    return new TargetError("missing", message, {
      remedy: "create it (docker compose up --no-start), or correct the names in the configuration",
    });
  }

  /** Whether an event is about a container that the reference matches, or matched before a rename. */
  matches({ attributes }: ContainerEvent): boolean {
    const { reference } = this.#options();
    if ("name" in reference)
      return attributes["name"] === reference.name || attributes["oldName"] === `/${reference.name}`;
    if ("createdFor" in reference) return isFor(reference.createdFor, attributes);
    const isService = attributes[serviceLabel] === reference.service;
    return isService && (reference.project === undefined || attributes[projectLabel] === reference.project);
  }

  /** No container is chosen, because one of them has copied the labels of the other. */
  #ambiguity(containers: readonly ListedContainer[]): TargetError {
    const { name, onWarning } = this.#options();
    const names = containers.map((container) => container.name).toSorted();
    const message = `${names.length} containers have the labels of ${name}: ${names.join(", ")}`;
    const error = new TargetError("missing", message, {
      remedy: 'remove the containers that compose did not create, or name the right one: "container: NAME"',
    });
    if (this.#reportedAmbiguity !== message) onWarning("target.ambiguous", sentenceOf(error));
    this.#reportedAmbiguity = message;
    return error;
  }

  async #ownProject(signal: AbortSignal): Promise<string> {
    const { name, own } = this.#options();
    const project = (await own.known(signal))?.project;
    if (project !== undefined) return project;
    throw new TargetError("invalid", `${name}: wakeport does not run in a compose project itself`, {
      remedy: 'write "container: { service: …, project: … }", or set "docker.project" for all services',
    });
  }
}

function hasLabel({ labels }: ListedContainer, label: string): boolean {
  return labels[label]?.trim().toLowerCase() === "true";
}
