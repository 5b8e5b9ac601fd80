import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createGateway } from "../../../docker/gateway/src/app";
import { readConfig } from "../../../docker/gateway/src/config";
import { ConfigError } from "../../../docker/gateway/src/errors";
import { atFileEnd } from "../../harness/file-end";
import { bundleGateway, GatewayProcess } from "../../harness/gateway";
import { FAKE_MSB, TestGateway, temporaryFolder, until } from "./harness";

/** An msb before whose work a line of shell runs, from the moment on that a file is there. */
function slow(home: string, line: string): string {
  const path = join(home, "msb");
  writeFileSync(path, `#!/bin/sh\n[ ! -e "$MSB_HOME/slow" ] || ${line}\nexec ${FAKE_MSB} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** What hangs is given up after a minute for each command. */
const LONGEST_START_MS = 40_000;

test("a start waits for an msb that hangs for some seconds, and then serves what is on the disk", {
  timeout: 90_000,
}, async () => {
  const home = temporaryFolder();
  const MSB_PATH = slow(home, "exec sleep 100");
  const before = await TestGateway.start({ MSB_PATH }, home);
  const { body } = await before.create("known");
  await before.close();
  writeFileSync(join(home, "slow"), "");

  const began = performance.now();
  const gateway = await TestGateway.start({ MSB_PATH }, home, { resume: false });
  expect(performance.now() - began).toBeLessThan(LONGEST_START_MS);
  expect((await gateway.get("/healthz")).status).toBe(200);
  expect((await gateway.get(`/v1/sandboxes/${body.id}`)).body).toMatchObject({
    name: "known",
    status: "running",
  });
  expect((await gateway.get("/readyz")).status).toBe(503);
});

test("what msb tells after the start is taken in when it comes", { timeout: 60_000 }, async () => {
  const home = temporaryFolder();
  const MSB_PATH = slow(home, `while [ ! -e "$MSB_HOME/go" ]; do sleep 0.2; done`);
  const before = await TestGateway.start({ MSB_PATH }, home);
  const { body } = await before.create("died");
  await before.close();
  writeFileSync(join(home, "fake", "sandboxes", `${body.id}.status`), "Crashed\n");
  writeFileSync(join(home, "slow"), "");
  const gateway = await TestGateway.start({ MSB_PATH }, home, { resume: false });
  const { sandboxes } = gateway.gateway.backend;
  const ended = sandboxes.until(body.id, ({ status }) => status === "failed", AbortSignal.timeout(30_000));
  writeFileSync(join(home, "go"), "");
  expect((await ended).status).toBe("failed");
});

test("a state that turns out to be too new after the start ends the server", {
  timeout: 60_000,
}, async () => {
  const home = temporaryFolder();
  const MSB_PATH = slow(home, `while [ ! -e "$MSB_HOME/go" ]; do sleep 0.2; done`);
  await (await TestGateway.start({ MSB_PATH }, home)).close();
  writeFileSync(join(home, "gateway", "version"), "99.0.0");
  writeFileSync(join(home, "slow"), "");
  let why: unknown;
  const env = {
    MSB_PATH,
    MSB_HOME: home,
    WORKSPACE: join(home, "workspace"),
    STARTER_ARCHIVE: "",
    LOG_LEVEL: "silent",
  };
  const { app } = await createGateway(readConfig(env), {
    unusable: (error) => {
      why = error;
    },
  });
  atFileEnd(() => app.close());
  expect(why).toBeUndefined();
  writeFileSync(join(home, "go"), "");
  await until(() => why !== undefined, "it to be told", 30_000);
  expect(why).toBeInstanceOf(ConfigError);
  // Which stack that is, and who deploys it how, the server does not know.
  expect(String(why)).toMatch(
    /used by microsandbox 99\.0\.0[\s\S]*set version to 99\.0\.0 in the settings of its stack, then run up\.$/,
  );
});

test("a state that turns out to be too new stops what runs, and then the server", {
  timeout: 90_000,
}, async () => {
  const home = temporaryFolder();
  const path = slow(home, `[ "$1" != --version ] || while [ ! -e "$MSB_HOME/go" ]; do sleep 0.2; done`);
  const script = join(home, "server.cjs");
  await bundleGateway(script);
  const env = { MSB_PATH: path };
  const before = await GatewayProcess.start({ script, home, env });
  const { id } = await before.create("box");
  await before.request("POST", `/v1/sandboxes/${id}/stop`);
  await before.program.kill();
  writeFileSync(join(home, "gateway", "version"), "99.0.0");
  writeFileSync(join(home, "slow"), "");

  const log = join(home, "log");
  const gateway = await GatewayProcess.start({ script, home, env, log });
  const started = await gateway.request("POST", `/v1/sandboxes/${id}/start?wait_for=running`);
  expect(started.body.status).toBe("running");
  const stops = () => readFileSync(join(home, "fake", "stops.log"), "utf8").split("\n").length;
  const stopped = stops();
  writeFileSync(join(home, "go"), "");
  expect(await gateway.program.ended).toBe(1);
  expect(readFileSync(join(home, "fake", "sandboxes", `${id}.status`), "utf8")).toBe("Stopped\n");
  expect(stops()).toBe(stopped + 1);
  expect(readFileSync(log, "utf8")).toContain("last used by microsandbox 99.0.0");
  expect(readFileSync(join(home, "gateway", "resume.json"), "utf8")).toContain(id);
  await gateway.remove();
});
