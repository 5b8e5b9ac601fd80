import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { exec, pipe } from "../../../setup/exec";

/** Programs that can't be started, by the reason. */
const unstarted: [string, string[], RegExp][] = [
  ["/none/program", [], /^\/none\/program can't be started: .*ENOENT/],
  ["/etc/passwd", [], /^\/etc\/passwd can't be started: .*EACCES/],
  ["true", ["x".repeat(200_000)], /^true can't be started: .*E2BIG/],
];

it.each(unstarted)("says why %s could not be started", async (program, args, why) => {
  const result = await exec(program, args, { reject: false, stdin: "ignore" });
  const { failed, exitCode, stdout, stderr } = result;
  expect({ failed, exitCode, stdout }).toEqual({ failed: true, exitCode: undefined, stdout: "" });
  expect(stderr).toMatch(why);
  const { ended } = await pipe(program, args, new AbortController().signal);
  expect(await ended).toEqual({ ok: false, stderr: expect.stringMatching(why) });
});

it.each(unstarted)("says it on the terminal where %s would have used that", async (program, args, why) => {
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  try {
    const inherit = "inherit" as const;
    for (const options of [{ stdio: inherit }, { stderr: inherit }, { stdio: ["ignore", "pipe", inherit] }])
      await exec(program, args, { ...options, reject: false } as { stdio: "inherit"; reject: false });
    expect(written.mock.calls).toHaveLength(3);
    for (const [text] of written.mock.calls) expect(text).toMatch(why);
  } finally {
    written.mockRestore();
  }
});

it("leaves the words of a program that ran as they are, however it ended", async () => {
  const end = fc.oneof(
    fc.integer({ min: 0, max: 255 }).map((code) => `exit ${code}`),
    fc.constantFrom("kill -9 $$", "kill -15 $$"),
  );
  await fc.assert(
    fc.asyncProperty(end, fc.constantFrom("", "no room"), async (line, said) => {
      const script = `printf %s '${said}' >&2; ${line}`;
      expect((await exec("sh", ["-c", script], { reject: false })).stderr).toBe(said);
    }),
    { numRuns: 10 },
  );
});
