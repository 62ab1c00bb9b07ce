/** The containers that wakeport itself needs, according to the system and the engine. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { upperDirIn } from "../../src/docker/own-container.ts";
import { providesSocket } from "../../src/docker/own-dependencies.ts";

const HOST = `25 30 0:23 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1g
30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw`;

const INSIDE = `812 700 0:51 / / rw,relatime master:300 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/overlay2/0a1/diff,workdir=/var/lib/docker/overlay2/0a1/work
820 812 8:1 /var/lib/docker/volumes/shop_api/_data /run/api rw,relatime - ext4 /dev/sda1 rw
821 812 0:23 /docker.sock /var/run/docker.sock rw,nosuid - tmpfs tmpfs rw`;

suite("upperDirIn()", () => {
  test("returns the writable layer of the root file system", () => {
    assert.equal(upperDirIn(INSIDE), "/var/lib/docker/overlay2/0a1/diff");
  });

  test("returns undefined outside of an overlay", () => {
    assert.equal(upperDirIn(HOST), undefined);
    assert.equal(upperDirIn(""), undefined);
  });
});

suite("providesSocket()", () => {
  const volume = { mounts: [{ source: "/var/lib/docker/volumes/shop_api/_data", destination: "/api" }] };
  const client = { mounts: [{ source: "/var/run/docker.sock", destination: "/var/run/docker.sock" }] };
  const other = { mounts: [{ source: "/var/lib/docker/volumes/shop_data/_data", destination: "/data" }] };
  const wide = { mounts: [{ source: "/run", destination: "/host/run" }] };
  const folder = { mounts: [{ source: "/opt/proxy", destination: "/out" }] };

  test("recognizes a proxy that shares the folder of the socket with wakeport", () => {
    assert.equal(providesSocket("/run/api/docker.sock", volume, INSIDE), true);
    assert.equal(providesSocket("/run/api/docker.sock", other, INSIDE), false);
  });

  test("does not recognize another user of the engine's own socket as a proxy", () => {
    assert.equal(providesSocket("/var/run/docker.sock", client, INSIDE), false);
    assert.equal(providesSocket("/var/run/docker.sock", client, HOST), false);
    assert.equal(providesSocket("/var/run/docker.sock", wide, HOST), false);
  });

  test("recognizes, on the host, the container that mounts the folder of the socket", () => {
    assert.equal(providesSocket("/opt/proxy/docker.sock", folder, HOST), true);
    assert.equal(providesSocket("/opt/proxy/docker.sock", other, HOST), false);
  });
});
