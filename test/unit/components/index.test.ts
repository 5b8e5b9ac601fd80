import { expect, it } from "vitest";
import { exec } from "../../../setup/exec";

it("exports components and does nothing on import", async () => {
  const program = `
    const before = process.eventNames().map((name) => [name, process.listenerCount(name)]);
    const exported = require("./components");
    const after = process.eventNames().map((name) => [name, process.listenerCount(name)]);
    console.log(JSON.stringify({ names: Object.keys(exported).sort(), quiet: String(before) === String(after) }));`;
  // Without an engine: a resource that were made on import would fail.
  const { stdout } = await exec("node", ["--import", "tsx", "--eval", program]);
  expect(JSON.parse(stdout)).toEqual({
    names: [
      "Architecture",
      "EgressLevel",
      "EmulatedHost",
      "ImageEngine",
      "KvmCheckLevel",
      "Microsandbox",
      "SandboxImage",
    ],
    quiet: true,
  });
});
