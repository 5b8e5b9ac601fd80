import { expect, it } from "vitest";
import { readState } from "../../../../components/host/deployment";

const state = { urn: { type: "t", outputs: {} } };

/** An engine that fails so many times before it answers. */
function engine(failures: number, message: string) {
  const seen = { asked: 0 };
  const ask = async () => {
    seen.asked++;
    if (seen.asked <= failures) throw new Error(message);
    return { outputs: state };
  };
  return { seen, ask };
}

it.each([0, 1, 4])(
  "the state is read once the engine has written it: after %i failures",
  async (failures) => {
    const { seen, ask } = engine(failures, "invocation returned an error: failed to load checkpoint: EOF");
    expect(await readState(ask)).toEqual(state);
    expect(seen.asked).toBe(failures + 1);
  },
);

it("the state is not asked for again where something else is wrong", async () => {
  const { seen, ask } = engine(1, "no such stack");
  await expect(readState(ask)).rejects.toThrow("no such stack");
  expect(seen.asked).toBe(1);
});
