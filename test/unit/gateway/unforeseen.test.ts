import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { bundleGateway, GatewayProcess } from "../../harness/gateway";
import { temporaryFolder, until } from "./harness";

test("a rejection that nothing handles is logged and counted, and ends nothing", async () => {
  const folder = temporaryFolder();
  const [script, log, fault] = ["gateway.cjs", "log", "fault.cjs"].map((name) => join(folder, name)) as [
    ...[string, string, string],
  ];
  await bundleGateway(script);
  // What a forgotten catch somewhere in the server would do.
  writeFileSync(fault, 'setInterval(() => Promise.reject(new Error("unforeseen")), 200).unref();');
  const gateway = await GatewayProcess.start({ script, log, nodeFlags: ["--require", fault] });
  atFileEnd(() => gateway.remove());
  const counted = async () => {
    const { body } = await gateway.request("GET", "/metrics");
    return Number(/unhandled_rejections_total (\d+)/.exec(String(body))?.[1]);
  };
  await until(async () => (await counted()) >= 3, "the count");
  expect(gateway.program.running).toBe(true);
  const lines = readFileSync(log, "utf8").split("\n");
  expect(lines.find((line) => line.includes("unforeseen"))).toContain("unhandled promise rejection");
});

test("uncaught exception ends the process, but only after guests were stopped cleanly", async () => {
  const folder = temporaryFolder();
  const [script, log, fault] = ["gateway.cjs", "log", "fault.cjs"].map((name) => join(folder, name)) as [
    ...[string, string, string],
  ];
  await bundleGateway(script);
  const trigger = join(folder, "now");
  writeFileSync(
    fault,
    `setInterval(() => { if (require("fs").existsSync("${trigger}")) throw new Error("unforeseen"); }, 100).unref();`,
  );
  const gateway = await GatewayProcess.start({ script, log, nodeFlags: ["--require", fault] });
  atFileEnd(() => gateway.remove());
  const { id } = (await gateway.create("box")) as { id: string };
  writeFileSync(trigger, "");
  await until(() => !gateway.program.running, "its end");
  const text = readFileSync(log, "utf8");
  expect(text).toContain("uncaught exception");
  expect(text).toContain("stopping the running sandboxes");
  const resumed = readFileSync(join(gateway.home, "gateway", "resume.json"), "utf8");
  expect(JSON.parse(resumed)).toEqual([id]);
});
