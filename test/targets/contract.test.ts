import { kill } from "node:process";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { checkLeaks } from "../support/leaks.ts";
import { fixture, ProcessSubject } from "../support/targets/process-subject.ts";
import { type Subject, type Temper, targetContract } from "../support/targets/target-contract.ts";

checkLeaks();

const GRACE_MS = 300;

targetContract("FakeTarget", async (temper): Promise<Subject> => {
  const target = new FakeTarget();
  target.graceMs = GRACE_MS;
  target.isPrompt = true;
  if (temper === "stubborn") target.stopTakesMs = GRACE_MS;
  return {
    target,
    atWork: async () => {
      target.print("at work");
    },
    crash: async () => {
      target.print("last words");
      target.goDown({ code: 7 });
    },
    [Symbol.asyncDispose]: async () => {},
  };
});

targetContract("ProcessTarget", async (temper: Temper): Promise<Subject> => {
  const subject = await ProcessSubject.of([fixture("puppet.sh"), temper], {
    graceMs: GRACE_MS,
    env: { PATH: "/usr/bin:/bin" },
  });
  return {
    target: subject.target,
    atWork: async () => {
      await subject.untilPrinted("at work");
    },
    crash: async () => {
      kill(await subject.pid(), "SIGUSR2");
    },
    [Symbol.asyncDispose]: () => subject[Symbol.asyncDispose](),
  };
});
