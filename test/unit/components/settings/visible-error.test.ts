import { RunError } from "@pulumi/pulumi/errors";
import { expect, it } from "vitest";
import { VisibleError } from "../../../../components/settings/visible-error";
import { exec } from "../../../../setup/exec";

it("is what Pulumi prints without a stack trace", () => {
  expect(RunError.isInstance(new VisibleError("port 5555 is taken"))).toBe(true);
  expect(RunError.isInstance(new Error("a bug"))).toBe(false);
});

it("leaves Pulumi out of the commands that run before it", async () => {
  const program = `
    require("./cli/commands/up");
    console.log(Object.keys(require.cache).filter((path) => /@pulumi|@grpc/.test(path)).join("\\n"));`;
  const { stdout } = await exec("node", ["--import", "tsx", "--eval", program]);
  expect(stdout).toBe("");
});
