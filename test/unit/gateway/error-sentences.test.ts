import { describe, expect, test } from "vitest";
import { MsbError } from "../../../docker/gateway/src/backends/msb/command-line";
import type { Subject } from "../../../docker/gateway/src/backends/msb/error-sentences";

/** What msb 0.6.18 and 0.7.11 say, word for word the same where nothing else is noted; taken from the programs. */
const SAID: [about: Subject["what"] | undefined, kind: string, stderr: string][] = [
  ["sandbox", "sandboxNotFound", "error: sandbox not found: x"],
  // Never a client's name: what msb calls a sandbox is its id.
  ["sandbox", "runtimeFailed", "error: sandbox already exists: sandbox 'x' already exists; remove it"],
  ["sandbox", "invalidSpec", "error: volume not found: novol"],
  ["sandbox", "invalidSpec", "error: image error: image not cached: docker.io/library/aa:latest"],
  [
    "sandbox",
    "invalidSpec",
    "error: registry error: Not authorized: url https://r.test/v2/private/b/manifests/1",
  ],
  ["sandbox", "invalidSpec", "error: invalid config: invalid image reference: invalid reference format"],
  [
    "sandbox",
    "invalidSpec",
    "error: invalid config: sandbox name must start with an alphanumeric and contain only alphanumeric, dots, hyphens, and underscores: bad name!",
  ],
  [
    "sandbox",
    "invalidSpec",
    "error: invalid sandbox configuration c.json: unknown field `nonsense`, expected one of `image`, `pull_policy`",
  ],
  [
    "sandbox",
    "invalidSpec",
    "error: rule token `nonsense` is missing `@`; expected `<action>[:<direction>]@<target>[:<proto>[:<ports>]]`",
  ],
  [
    "sandbox",
    "runtimeFailed",
    'error: failed to start "s2"\n  → other: sandbox process exited (exit status: 1) before agent relay became available\n  → run `msb logs --source system s2` for full diagnostics',
  ],
  ["volume", "nameTaken", "error: volume already exists: v1"],
  ["volume", "volumeNotFound", "error: volume not found: nov"],
  [
    "volume",
    "invalidRequest",
    "error: invalid config: volume name must start with an alphanumeric character and contain only alphanumeric characters, dots, hyphens, and underscores: bad/name",
  ],
  ["volume", "invalidRequest", "error: size too large"],
  ["volume", "runtimeFailed", "error: something new"],
  ["sandbox", "runtimeFailed", "error: something new"],
  [undefined, "runtimeFailed", "error: something new"],
  [
    undefined,
    "diskFull",
    "error: runtime error: database error: Execution Error: error returned from database: (code: 13) database or disk is full",
  ],
  [
    "image",
    "diskFull",
    "error: cache error at /home/cache/tmp/sha256_981b.part: No space left on device (os error 28)",
  ],
  [
    "volume",
    "diskFull",
    "error: runtime error: database error: Execution Error: error returned from database: (code: 13) database or disk is full",
  ],
  [
    "sandbox",
    "unavailable",
    "error: runtime error: database error: Execution Error: error returned from database: (code: 5) database is locked",
  ],
  ["volume", "unavailable", "error: database is locked"],
];

describe("what msb says", () => {
  test.each(SAID)("about %s is %s: %s", (what, kind, stderr) => {
    for (const text of [stderr, `\u001b[31m${stderr}\u001b[0m\n`, `a warning before\n${stderr}\n`]) {
      const error = new MsbError("command", 1, text);
      const told = what ? error.about({ what, name: "mine" }) : error;
      expect(told.kind).toBe(kind);
      expect(told.message).not.toMatch(/^error:|msb logs/);
    }
  });

  test("gives a name that the client knows, not msb's", () => {
    const error = new MsbError("rm", 1, "error: sandbox not found: sb-1234");
    expect(error.about({ what: "sandbox", name: "mine" }).message).toBe('no sandbox "mine"');
  });

  test("is never the client's mistake where nobody knows what it is", () => {
    for (const what of ["sandbox", "volume", "image"] as const)
      for (const code of [1, 101, 124, 128])
        expect(new MsbError("x", code, "thread panicked").about({ what, name: "a" }).kind).toBe(
          "runtimeFailed",
        );
  });
});
