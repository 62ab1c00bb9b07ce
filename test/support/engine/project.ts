import { randomBytes } from "node:crypto";
import type { ContainerSpec, TestContainer, TestEngine } from "./containers.ts";

/** Containers with the labels of a compose project, created one by one. */
export class Project {
  readonly name: string = `wakeport-test-${randomBytes(4).toString("hex")}`;
  readonly #engine: Pick<TestEngine, "container">;

  constructor(engine: Pick<TestEngine, "container">) {
    this.#engine = engine;
  }

  /** @param dependsOn in the syntax of compose: `db:service_started:false` */
  make(service: string, spec: ContainerSpec, dependsOn = ""): Promise<TestContainer> {
    const labels = {
      "com.docker.compose.project": this.name,
      "com.docker.compose.service": service,
      "com.docker.compose.container-number": "1",
      "com.docker.compose.oneoff": "False",
      ...(dependsOn !== "" && { "com.docker.compose.depends_on": dependsOn }),
    };
    return this.#engine.container({ ...spec, labels });
  }

  /** The configuration of a container that wakeport finds by labels. */
  nameOf(service: string): string {
    return `container ${this.name}/${service}`;
  }
}
