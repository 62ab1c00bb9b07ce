import { TargetError } from "../errors.ts";

interface Kind {
  readonly shape: RegExp;
  readonly fault: "missing" | "failed";
  readonly remedy: string;
}

const BY_HAND = "wakeport has no registry password: pull it by hand on the engine's machine (docker pull)";

/** The first match applies. Registries and engines have many messages for the same fault. */
const kinds: readonly Kind[] = [
  { shape: /no space left/i, fault: "failed", remedy: "free space on the engine's disk (docker system df)" },
  {
    shape: /toomanyrequests|rate limit/i,
    fault: "failed",
    remedy: "wait, or log in and pull it by hand on the engine's machine (docker pull)",
  },
  {
    // A registry gives the same answer for a missing and a private image.
    shape: /repository does not exist|pull access denied/i,
    fault: "missing",
    remedy: `correct its name; if it is private: ${BY_HAND}`,
  },
  { shape: /unauthorized|authentication required|denied|basic auth/i, fault: "failed", remedy: BY_HAND },
  {
    shape: /HTTP response to HTTPS client|x509|certificate/i,
    fault: "failed",
    remedy: "the engine does not trust the registry: see insecure-registries, or /etc/docker/certs.d",
  },
  {
    shape: /no matching manifest|not match the .*platform/i,
    fault: "missing",
    remedy: "the image does not support this machine's processor: use another tag",
  },
  {
    shape: /manifest unknown|manifest for .* not found|name unknown|not found|no such image/i,
    fault: "missing",
    remedy: "correct its name and tag, or push it",
  },
  {
    shape: /refused|no such host|server misbehaving|time(?:d )?out|deadline exceeded|unreachable|no route|EOF|reset/i,
    fault: "failed",
    remedy: "check the registry, and the network between it and the engine's machine",
  },
];

/** Returns the error of a failed pull, with the engine's message and a remedy. */
export function pullFault(image: string, answer: string, cause?: unknown): TargetError {
  const { fault, remedy } = kinds.find(({ shape }) => shape.test(answer)) ?? { fault: "failed" as const };
  const message = `the image ${image} could not be pulled: ${answer.trim()}`;
  return new TargetError(fault, message, { cause, ...(remedy !== undefined && { remedy }) });
}
