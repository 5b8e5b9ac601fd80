import { expect, it } from "vitest";
import { refuseProtected } from "../../../toolchain/commands/destroy";

const volume = { urn: "urn:v", type: "docker:index/volume:Volume", outputs: { name: "sandboxes-state" } };

it("refuses to destroy a stack with protected volumes, and says how to allow it", () => {
  expect(() => refuseProtected("prod", [{ ...volume, protect: true }])).toThrow(
    /sandboxes-state must stay\. Nothing was removed\.\n.*volumes\.protect false --stack prod/,
  );
});

it("lets go of a stack without them", () => {
  expect(() => refuseProtected("prod", [volume, { ...volume, protect: false }])).not.toThrow();
});
