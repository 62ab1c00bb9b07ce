/** `container: { image: … }`: what it becomes, and what is said of each mistake in it. */
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
  test("an image alone is enough, and has a tag", () => {
    assert.deepEqual(targetOf("{ image: nginx }"), plain);
  });

  test("all of its keys", () => {
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

  test("names of images: with registry, tag or digest", () => {
    const digest = `sha256:${"0".repeat(64)}`;
    for (const image of ["a/b/c:1.2-x", "localhost/x:1", `nginx@${digest}`, `r.example/x:1@${digest}`]) {
      assert.deepEqual(targetOf(`{ image: "${image}" }`), { ...plain, image });
    }
  });

  const mistakes: Readonly<Record<string, RegExp>> = {
    "{ image: Nginx }": /4:25 error: "container.image" of service "web": "Nginx" is no image's name: write it like/,
    '{ image: "a b" }': /is no image's name/,
    "{ image: a, comand: [x] }": /4:28 error: unknown key "comand".*\n.*\n.*did you mean "command"\?/,
    "{ image: a, service: b }": /unknown key "(service|image)"[\s\S]*not together with the other keys here/,
    "{ image: a, command: node server.js }": /the command is a list/,
    "{ image: a, memory: 512 }": /"container.memory" of service "web": "512" has no unit: write "512m" or "512g"/,
    "{ image: a, memory: 1m }": /"1m" is too little: the engine takes 6m at least/,
    "{ image: a, memory: big, cpus: many }": /"big" is no size[\s\S]*"container.cpus"/,
    "{ image: a, cpus: 0 }": /at least 0.01/,
    '{ image: a, volumes: ["./web:/web"] }': /"\.\/web:\/web" is relative: the engine takes whole paths/,
    '{ image: a, volumes: ["/a:b"] }': /"\/a:b" is no volume: write it like/,
    '{ image: a, volumes: ["/a:/b:rx"] }': /"rx" is no option of a volume/,
    '{ image: a, networks: ["a/b"] }': /"container.networks" of service "web": a name has/,
    "{ image: a, labels: { wakeport.owner: me } }": /"wakeport.owner" is not to be set/,
    "{ image: a, remove: soon }": /"container.remove" of service "web" is "soon": expected true or false/,
  };
  for (const [written, told] of Object.entries(mistakes)) {
    test(written, () => {
      assert.throws(
        () => targetOf(written),
        (error) => error instanceof ConfigError && told.test(error.message),
      );
    });
  }
});

test("parseSize() reads sizes as compose writes them", () => {
  const sizes = { "512m": 512 * 1024 ** 2, "1.5g": 1.5 * 1024 ** 3, "2GB": 2 * 1024 ** 3, "64k": 65_536, "10b": 10 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "m", "-1m", "1t", "1mm", "1 m", "512"]) assert.throws(() => parseSize(text), UnitError, text);
});
