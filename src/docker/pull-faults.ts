import { TargetError } from "../errors.ts";

interface Kind {
  readonly shape: RegExp;
  readonly fault: "missing" | "failed";
  readonly remedy: string;
}

const BY_HAND = "wakeport has no password of a registry: pull it by hand on the engine's machine (docker pull)";

/** The first that fits. Registries and engines say much the same in many ways. */
const kinds: readonly Kind[] = [
  { shape: /no space left/i, fault: "failed", remedy: "make room on the engine's disk (docker system df)" },
  {
    shape: /toomanyrequests|rate limit/i,
    fault: "failed",
    remedy: "wait, or log in and pull it by hand on the engine's machine (docker pull)",
  },
  {
    // What does not exist and what is private look alike from outside.
    shape: /repository does not exist|pull access denied/i,
    fault: "missing",
    remedy: `correct its name; if it is private: ${BY_HAND}`,
  },
  { shape: /unauthorized|authentication required|denied|basic auth/i, fault: "failed", remedy: BY_HAND },
  {
    shape: /HTTP response to HTTPS client|x509|certificate/i,
    fault: "failed",
    remedy: "the engine does not trust that registry: see insecure-registries, or /etc/docker/certs.d",
  },
  {
    shape: /no matching manifest|not match the .*platform/i,
    fault: "missing",
    remedy: "it is not made for this machine's processor: take another tag",
  },
  {
    shape: /manifest unknown|manifest for .* not found|name unknown|not found|no such image/i,
    fault: "missing",
    remedy: "correct its name and tag, or push it",
  },
  {
    shape: /refused|no such host|server misbehaving|time(?:d )?out|deadline exceeded|unreachable|no route|EOF|reset/i,
    fault: "failed",
    remedy: "check the registry, and the way to it from the engine's machine",
  },
];

/** Why an image could not be pulled, in the engine's words, with what to do about it. */
export function pullFault(image: string, said: string, cause?: unknown): TargetError {
  const { fault, remedy } = kinds.find(({ shape }) => shape.test(said)) ?? { fault: "failed" as const };
  const message = `the image ${image} could not be pulled: ${said.trim()}`;
  return new TargetError(fault, message, { cause, ...(remedy !== undefined && { remedy }) });
}
