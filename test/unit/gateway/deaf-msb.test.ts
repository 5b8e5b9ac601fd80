import { appendFileSync, chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FAKE_MSB, TestGateway, temporaryFolder } from "./harness";

/** An msb that fails, or does not answer, when it is asked for a list, from the moment on that a file is there. */
function deaf(home: string, how: string): string {
  const path = join(home, "msb");
  writeFileSync(
    path,
    `#!/bin/sh\n[ "$1" != ls ] || [ ! -e "$MSB_HOME/deaf" ] || ${how}\nexec ${FAKE_MSB} "$@"\n`,
  );
  chmodSync(path, 0o755);
  return path;
}

test.each([
  ["fails", "exit 1"],
  ["does not answer", "exec sleep 40"],
])("where msb's list %s, what is known can be seen, stopped and removed", async (_what, how) => {
  const home = temporaryFolder();
  const gateway = await TestGateway.start({ MSB_PATH: deaf(home, how) }, home);
  const { body } = await gateway.create("known");
  const path = `/v1/sandboxes/${body.id}`;
  writeFileSync(join(home, "deaf"), "");
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await gateway.get(path)).body.status).toBe("running");
  expect((await gateway.post(`${path}/stop`)).body.status).toBe("stopped");
  expect((await gateway.delete(path)).status).toBe(200);
  expect(gateway.made("known")).toBeUndefined();
});

test("a log is followed on while msb's list fails", async () => {
  const home = temporaryFolder();
  const gateway = await TestGateway.start({ MSB_PATH: deaf(home, "exit 1") }, home);
  const { id } = (await gateway.create("box")).body;
  writeFileSync(join(home, "deaf"), "");
  const answer = await fetch(`${gateway.url}/v1/sandboxes/${id}/logs`, {
    headers: { authorization: "Bearer x", accept: "text/event-stream" },
    signal: AbortSignal.timeout(20_000),
  });
  // Longer than what is known of it holds.
  setTimeout(() => {
    const line = { t: new Date().toISOString(), s: "stdout", d: "still here" };
    appendFileSync(join(home, "sandboxes", id, "logs", "exec.log"), `${JSON.stringify(line)}\n`);
  }, 8_000);
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += Buffer.from(chunk).toString("utf8");
    if (text.includes("still here")) break;
  }
  expect(text).toContain("still here");
});
