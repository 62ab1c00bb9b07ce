/** The target `container: { image: … }`. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseConfig } from "../../../src/config/parse.ts";
import { parseSize, UnitError } from "../../../src/config/values/units.ts";
import { ConfigError } from "../../../src/config/yaml/config-error.ts";

function targetOf(container: string): unknown {
  const text = `services:\n  web:\n    ports: ["80"]\n    container: ${container}\n`;
  return parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "127.0.0.1", port: 9464 } })
    .services[0]?.target;
}

const plain = {
  kind: "created",
  service: "web",
  network: "auto",
  image: "nginx:latest",
  env: {},
  volumes: [],
  networks: [],
  labels: {},
  remove: false,
};

suite("container: { image: … }", () => {
  test("a name alone gets the tag latest", () => {
    assert.deepEqual(targetOf("{ image: nginx }"), plain);
  });

  test("all keys are parsed", () => {
    const written = `{ image: "reg.example:5000/team/web:2", command: [a, "b c"], env: { N: 1, ON: true },
      volumes: ["/srv:/srv:ro", "data:/var/lib", /scratch], networks: [back], user: 1000, memory: 1.5g, cpus: 0.5,
      labels: { team: a }, remove: true }`;
    assert.deepEqual(targetOf(written), {
      ...plain,
      image: "reg.example:5000/team/web:2",
      command: ["a", "b c"],
      env: { N: "1", ON: "true" },
      volumes: ["/srv:/srv:ro", "data:/var/lib", "/scratch"],
      networks: ["back"],
      user: "1000",
      memoryBytes: 1.5 * 1024 ** 3,
      cpus: 0.5,
      labels: { team: "a" },
      remove: true,
    });
  });

  test("image names may have registry, tag or digest", () => {
    const digest = `sha256:${"0".repeat(64)}`;
    for (const image of ["a/b/c:1.2-x", "localhost/x:1", `nginx@${digest}`, `r.example/x:1@${digest}`]) {
      assert.deepEqual(targetOf(`{ image: "${image}" }`), { ...plain, image });
    }
  });

  const invalid: Readonly<Record<string, RegExp>> = {
    "{ image: Nginx }": /4:25 error: "container.image" of service "web": "Nginx" is not an image name: write it as/,
    '{ image: "a b" }': /is not an image name/,
    "{ image: a, comand: [x] }": /4:28 error: unknown key "comand".*\n.*\n.*did you mean "command"\?/,
    "{ image: a, service: b }": /unknown key "(service|image)"[\s\S]*it cannot be combined with the other keys here/,
    "{ image: a, command: node server.js }": /the command is a list/,
    "{ image: a, memory: 512 }": /"container.memory" of service "web": "512" has no unit: write "512m" or "512g"/,
    "{ image: a, memory: 1m }": /"1m" is too small: the minimum of Docker is 6m/,
    "{ image: a, memory: big, cpus: many }": /"big" is not a size[\s\S]*"container.cpus"/,
    "{ image: a, cpus: 0 }": /at least 0.01/,
    '{ image: a, volumes: ["./web:/web"] }': /"\.\/web:\/web" is relative: write an absolute path/,
    '{ image: a, volumes: ["/a:b"] }': /"\/a:b" is not a volume: write it as/,
    '{ image: a, volumes: ["/a:/b:rx"] }': /"rx" is not an option of a volume/,
    '{ image: a, networks: ["a/b"] }': /"container.networks" of service "web": a name has/,
    "{ image: a, labels: { wakeport.owner: me } }": /label "wakeport.owner" is reserved/,
    "{ image: a, remove: soon }": /"container.remove" of service "web" is "soon": expected true or false/,
  };
  for (const [written, expected] of Object.entries(invalid)) {
    test(written, () => {
      assert.throws(
        () => targetOf(written),
        (error) => error instanceof ConfigError && expected.test(error.message),
      );
    });
  }
});

test("parseSize() parses sizes in the syntax of compose", () => {
  const sizes = { "512m": 512 * 1024 ** 2, "1.5g": 1.5 * 1024 ** 3, "2GB": 2 * 1024 ** 3, "64k": 65_536, "10b": 10 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "m", "-1m", "1t", "1mm", "1 m", "512"]) assert.throws(() => parseSize(text), UnitError, text);
});
