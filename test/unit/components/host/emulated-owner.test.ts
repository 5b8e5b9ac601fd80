import { describe, expect, it } from "vitest";
import { Microsandbox } from "../../../../components/microsandbox";
import { failing, healthyHost, registered, stateOf } from "../../../harness/pulumi-mocks";

const program = () => new Microsandbox("sandboxes", { host: "emulated" });
/** The id that the mocks give to the deployment. */
const OWN = "sandboxes-deployment output";
const isMachine = ({ name }: { name: string }) => name.endsWith("-emulated-machine");

describe("an emulated host of the stack's name", () => {
  it("that another deployment uses is not started by a first up, nor by another one", async () => {
    const before = stateOf(await registered(program));
    for (const state of [{}, before]) {
      const { resources, errors } = await failing(program, { ...healthyHost, state, emulatedOwner: "other" });
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatch(
        /microsandbox-sandboxes-dev is used by another deployment .*The host was not changed/,
      );
      expect(errors[0]).toMatch(/to deploy beside it: .*\n.* delete microsandbox-sandboxes-dev --keep-disk/);
      expect(resources.filter(isMachine)).toEqual([]);
    }
  });

  it("that it uses itself, or nobody does, is its own", async () => {
    const before = stateOf(await registered(program));
    for (const [state, emulatedOwner] of [
      [before, OWN],
      [before, ""],
      [{}, ""],
    ] as const) {
      const { resources, errors } = await failing(program, { ...healthyHost, state, emulatedOwner });
      expect(errors).toEqual([]);
      const [machine] = resources.filter(isMachine);
      expect(machine?.inputs.environment).toMatchObject({ OWNER: OWN });
      expect(machine?.inputs.delete).toContain('--owner "$OWNER"');
    }
  });
});
