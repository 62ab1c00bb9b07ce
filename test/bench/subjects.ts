import type { Subject } from "./subject.ts";
import { asleep } from "./subjects/asleep.ts";
import { churn } from "./subjects/churn.ts";
import { coldStart } from "./subjects/cold-start.ts";
import { connect } from "./subjects/connect.ts";
import { handOff } from "./subjects/hand-off.ts";
import { herd } from "./subjects/herd.ts";
import { kernelRoute } from "./subjects/kernel-route.ts";
import { matrix } from "./subjects/matrix.ts";
import { quiet } from "./subjects/quiet.ts";
import { schedules } from "./subjects/schedules.ts";
import { throughput } from "./subjects/throughput.ts";
import { tools } from "./subjects/tools.ts";

/** In the order in which `npm run bench` measures them. */
export const subjects: readonly Subject[] = [
  throughput,
  connect,
  kernelRoute,
  quiet,
  tools,
  handOff,
  coldStart,
  herd,
  asleep,
  matrix,
  churn,
  schedules,
];
