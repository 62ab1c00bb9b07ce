/** How listeners and routes are printed. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { formatListener, serviceStatus } from "../../../src/admin/api.ts";
import { formatPlan } from "../../../src/cli/check/plan.ts";
import { describeTarget } from "../../../src/config/describe-target.ts";
import { parseConfig } from "../../../src/config/parse.ts";

suite("formatListener()", () => {
  test("contains the first three names and the number of further names", () => {
    assert.equal(formatListener({ listener: "*:80" }), "*:80");
    assert.equal(formatListener({ listener: "*:80", host: ["app.localhost"] }), "*:80 host app.localhost");
    const sni = ["a.test", "b.test", "c.test"];
    assert.equal(formatListener({ listener: "*:443", sni }), "*:443 sni a.test, b.test, c.test");
    assert.equal(
      formatListener({ listener: "*:443", sni: [...sni, "d.test", "*"] }),
      "*:443 sni a.test, b.test, c.test and 2 more",
    );
  });
});

suite("formatPlan()", () => {
  test("prints each port with the names that are routed to the service", () => {
    const text = `services:
  app: { ports: ["80", "443/udp"], host: [app.localhost, "*.app.localhost"], container: app }
  rest: { ports: 80, host: "*", forward: "10.0.0.1:8080" }
  worker: { container: worker, with: [app], group: shop }
  cron: { process: { command: [cron, -f] }, group: shop }
`;
    const { services } = parseConfig(Buffer.from(text), "w.yaml", { env: {}, adminListen: { host: "::1", port: 1 } });
    const planned = services.map((service) => {
      const { state: _state, ...rest } = serviceStatus(service, describeTarget(service.target), undefined);
      return rest;
    });
    assert.deepEqual(formatPlan(planned), [
      "  app      *:80 host app.localhost, *.app.localhost → container app:80   idle 5m   start ≤ 1m",
      "           *:443/udp → container app:443",
      "  rest     *:80 host * → 10.0.0.1:8080",
      "  worker   with app, group shop → container worker                       idle 5m   start ≤ 1m",
      "  cron     group shop → process cron -f                                  idle 5m   start ≤ 1m",
    ]);
  });
});
