import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
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

describe("the stack whose state is read", () => {
  /** The name that the engine of this organization is asked for. */
  async function asked(organization: string): Promise<unknown> {
    const names: unknown[] = [];
    const mocks: pulumi.runtime.Mocks = {
      newResource: ({ inputs }) => ({ id: "", state: inputs }),
      call: ({ inputs }) => {
        names.push(inputs.stackName);
        return { outputs: {} };
      },
    };
    await pulumi.runtime.setMocks(mocks, "shop", "dev", false, organization);
    await readState();
    return names.join();
  }

  it.each([
    ["an organization of Pulumi Cloud, which may not be the user's default", "mine", "mine/shop/dev"],
    ["a backend without organizations", "organization", "dev"],
    ["a backend that tells of none", "", "dev"],
  ])("is this one: %s", async (_where, organization, expected) => {
    expect(await asked(organization)).toBe(expected);
  });

  it("is named in words for the user where it can't be read", async () => {
    const { ask } = engine(1, "unknown stack");
    const error = await readState(ask).catch((reason: Error) => reason);
    expect(error).toMatchObject({ __pulumiRunError: true });
    expect(String(error)).toMatch(/can't be read[\s\S]*Pulumi said: unknown stack[\s\S]*pulumi stack export/);
  });
});
