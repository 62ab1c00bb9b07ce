/** A port that cannot be bound because a container publishes it: the message names the container. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { engineEnv } from "../support/engine/engine.ts";
import { engineTest } from "../support/engine/lab.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

checkLeaks();

engineTest(
  "a taken port is reported with the container that publishes it, at the start and at a reload",
  async (lab) => {
    const [tcp, udp, free, admin] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const target = await lab.container({ command: ["sleep", "3600"], published: [`${tcp}/tcp`, `${udp}/udp`] });
    await target.start();
    const text = (...ports: string[]): string =>
      JSON.stringify({
        admin: { listen: `127.0.0.1:${admin}` },
        services: { web: { ports: ports.map((port) => `127.0.0.1:${port}`), container: target.name } },
      });
    const publisher = (port: string): string =>
      `container ${target.name} publishes port ${port}: remove it from "ports:" of that container and recreate it`;

    await using file = await temporaryFile("wakeport.yaml", text(`${tcp}:80`, `${udp}:53/udp`));
    const { code, stderr } = await wakeport(["run", "-c", file.path], engineEnv());
    assert.equal(code, 1);
    const lines = stderr.trim().split("\n");
    assert.equal(lines.length, 4, stderr);
    assert.match(stderr, new RegExp(`service "web" cannot listen on 127\\.0\\.0\\.1:${tcp}: the port is in use`));
    assert.deepEqual(lines.slice(2), [publisher(String(tcp)), publisher(`${udp}/udp`)]);

    await writeFile(file.path, text(`${free}:80`));
    await using program = new Program(["run", "-c", file.path], engineEnv());
    await program.logged("started");
    await writeFile(file.path, text(`${free}:80`, `${tcp}:80`));
    program.child.kill("SIGHUP");
    const { error } = await program.logged("config.reload_failed");
    assert.ok(String(error).endsWith(`\n${publisher(String(tcp))}`), String(error));
  },
);
