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
  expect(lines.find((line) => line.includes("unforeseen"))).toContain("a failure that nothing handles");
});
