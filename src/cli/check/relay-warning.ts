import { arch, platform } from "node:os";
import { isRelayed, type Service } from "../../config/config.ts";
import { withoutDataPlane } from "../../dataplane/data-plane.ts";
import { dataPlaneProblem } from "../../dataplane/self-test.ts";

/**
 * Returns a warning if services would use the data plane and it cannot work on this machine.
 *
 * @param problemOf returns why it cannot work
 */
export function relayWarning(
  services: readonly Service[],
  problemOf: () => string | undefined = () => dataPlaneProblem(platform(), arch()),
): string | undefined {
  const using = services.filter((service) => isRelayed(service) && service.relay !== "node");
  const problem = using.length === 0 ? undefined : problemOf();
  if (problem === undefined) return undefined;
  const names = using.filter(({ relay }) => relay === "splice").map(({ name }) => `"${name}"`);
  const contrary = names.length === 0 ? "" : ` (although "relay" is "splice" for ${names.join(", ")})`;
  return `${withoutDataPlane(problem)}${contrary}`;
}
