/** Containers with the compose labels of another container. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ambiguousContainers } from "../../src/docker/compose-service.ts";
import { echo, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab } from "../support/engine/lab.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const [OLD, NEW] = ["0123456789ab".repeat(5), "fedcba987654".repeat(5)];

/** Name, id and container number of each container, and the names of the ambiguous containers. */
const cases: Readonly<Record<string, readonly [readonly (readonly [string, string, string?])[], readonly string[]]>> = {
  none: [[], []],
  one: [[["shop-db-1", OLD, "1"]], []],
  "two of a scaled service": [
    [
      ["shop-db-1", OLD, "1"],
      ["shop-db-2", NEW, "2"],
    ],
    [],
  ],
  "a copy": [
    [
      ["shop-db-1", OLD, "1"],
      ["copy", NEW, "1"],
    ],
    ["shop-db-1", "copy"],
  ],
  "a copy of a higher number": [
    [
      ["shop-db-1", OLD, "1"],
      ["shop-db-2", NEW, "2"],
      ["copy", "c", "2"],
    ],
    [],
  ],
  "a replacement of compose 2": [
    [
      [`${OLD.slice(0, 12)}_shop-db-1`, NEW, "1"],
      ["shop-db-1", OLD, "1"],
    ],
    [],
  ],
  "a replacement of compose 1": [
    [
      ["shop_db_1", NEW, "1"],
      [`${OLD.slice(0, 12)}_shop_db_1`, OLD, "1"],
    ],
    [],
  ],
  "a replacement and a copy": [
    [
      [`${OLD.slice(0, 12)}_shop-db-1`, NEW, "1"],
      ["shop-db-1", OLD, "1"],
      ["copy", "c", "1"],
    ],
    ["shop-db-1", "copy"],
  ],
  "a name with another id": [
    [
      ["aaaaaaaaaaaa_shop-db-1", NEW, "1"],
      ["shop-db-1", OLD, "1"],
    ],
    ["aaaaaaaaaaaa_shop-db-1", "shop-db-1"],
  ],
  "a number that is not valid": [
    [
      ["shop-db-1", OLD, "1"],
      ["copy", NEW, "0"],
      ["copy-2", "c", "-1"],
    ],
    [],
  ],
  "no numbers": [
    [
      ["a", OLD],
      ["b", NEW],
    ],
    ["a", "b"],
  ],
};

suite("ambiguousContainers() finds containers that claim the same number", () => {
  for (const [title, [containers, expected]] of Object.entries(cases)) {
    test(title, () => {
      const listed = containers.map(([name, id, number]) => ({
        name,
        id,
        created: 0,
        labels: number === undefined ? {} : { "com.docker.compose.container-number": number },
      }));
      assert.deepEqual(
        ambiguousContainers(listed).map(({ name }) => name),
        expected,
      );
    });
  }
});

function labelled(project: string, number: number): Record<string, string> {
  return {
    "com.docker.compose.project": project,
    "com.docker.compose.service": "echo",
    "com.docker.compose.container-number": String(number),
    "com.docker.compose.oneoff": "False",
  };
}

function copyOf(lab: Lab, project: string, number = 1): Promise<TestContainer> {
  return lab.container({ program: echo(), labels: labelled(project, number) });
}

engineTest("a running copy of a container's compose labels is neither served nor stopped", async (lab) => {
  const project = `wakeport-test-${process.pid}-copy`;
  const target = await lab.container({ program: echo(), labels: labelled(project, 1) });
  const wakeport = await lab.wakeport({
    echo: { to: target, container: { service: "echo", project }, idle_timeout: "300ms" },
  });
  await wakeport.greeted("echo");
  await wakeport.until("echo", "asleep");
  const copy = await copyOf(lab, project);
  await copy.start();
  await wakeport.until("echo", "missing");
  const [status] = wakeport.status.services;
  assert.match(status?.cause ?? "", new RegExp(`2 containers have the labels of container ${project}/echo: `));
  const peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  assert.equal(peer.received, 0);
  assert.ok(await copy.isAwake());
  assert.equal(await target.isAwake(), false);
  assert.equal(wakeport.record.warnings.filter(({ event }) => event === "target.ambiguous").length, 1);
  await copy.remove();
  await wakeport.until("echo", "asleep");
  await wakeport.greeted("echo");
  assert.ok(await target.isAwake());
});

engineTest("a copy that is not valid by its number is not preferred", async (lab) => {
  const project = `wakeport-test-${process.pid}-zero`;
  const copy = await copyOf(lab, project, 0);
  await copy.start();
  const target = await lab.container({ program: echo(), labels: labelled(project, 1) });
  const wakeport = await lab.wakeport({ echo: { to: target, container: { service: "echo", project } } });
  await wakeport.greeted("echo");
  assert.ok(await target.isAwake());
});
