import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { claimState, isNewer } from "../../../docker/gateway/src/backends/msb/state-version";
import { FAKE_MSB, TestGateway, temporaryFolder, until } from "./harness";

const noted = (home: string) => join(home, "gateway", "resume.json");

/** The gateway's record of a sandbox, and the file that it is in. */
function record(home: string, name: string): { file: string; expiresAt: string } {
  const folder = join(home, "gateway", "sandboxes");
  const files = readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .map((file) => join(folder, file));
  const records = files.map((file) => ({ file, ...JSON.parse(readFileSync(file, "utf8")) }));
  return records.find((each) => each.name === name);
}

/** The same home under a new server, which starts what the old one noted. */
async function restarted({ gateway, home }: TestGateway): Promise<TestGateway> {
  await gateway.stop();
  const next = await TestGateway.start({}, home);
  return next;
}

describe("a stop and a start of the server", () => {
  test("what ran runs again with its id; what had been stopped stays stopped", async () => {
    const first = await TestGateway.start();
    const { body } = await first.create("runs");
    const stopped = (await first.create("rests")).body;
    await first.post(`/v1/sandboxes/${stopped.id}/stop`);
    const second = await restarted(first);
    expect(second.made("runs")?.status).toBe("Running");
    expect(second.made("rests")?.status).toBe("Stopped");
    expect((await second.get("/v1/sandboxes/by-name/runs")).body).toMatchObject({
      id: body.id,
      status: "running",
    });
    expect(existsSync(noted(first.home))).toBe(false);
  });

  test("an ephemeral one is not started again", async () => {
    const first = await TestGateway.start();
    await first.create("short", { lifecycle: { ephemeral: true } });
    const second = await restarted(first);
    expect(second.made("short")?.status).not.toBe("Running");
  });

  test("nobody gets more time, and one whose time is over is not started", async () => {
    const first = await TestGateway.start();
    for (const name of ["timed", "over"])
      await first.create(name, { lifecycle: { max_duration_secs: 3600 } });
    await first.gateway.stop();
    const { expiresAt } = record(first.home, "timed");
    const over = record(first.home, "over");
    writeFileSync(
      over.file,
      JSON.stringify({ ...over, file: undefined, expiresAt: new Date(Date.now() - 1).toISOString() }),
    );
    const second = await restarted(first);
    expect(second.made("timed")?.status).toBe("Running");
    expect(record(first.home, "timed").expiresAt).toBe(expiresAt);
    expect(second.made("over")?.status).toBe("Stopped");
  });

  test("one that does not start keeps no other from starting, and is not tried for ever", async () => {
    const first = await TestGateway.start();
    await first.create("breaks", { env: [{ key: "FAIL_START", value: "1" }] });
    await first.create("fine");
    await first.gateway.stop();
    expect(JSON.parse(readFileSync(noted(first.home), "utf8"))).toHaveLength(2);
    const second = await TestGateway.start({}, first.home);
    expect((await second.get("/v1/sandboxes/by-name/breaks")).body.status).toBe("failed");
    expect(second.made("fine")?.status).toBe("Running");
    expect(existsSync(noted(first.home))).toBe(false);
  });

  test("one that did not stop in time runs again, though msb says only late that it has ended", async () => {
    const first = await TestGateway.start();
    const { body } = await first.create("slow");
    const silent = (await first.create("silent")).body;
    const status = (id: string) => join(first.home, "fake", "sandboxes", `${id}.status`);
    await first.gateway.stop();
    // As it was on disk when the container ended: up, and noted.
    for (const { id } of [body, silent]) {
      const { file, ...rest } = record(first.home, id === body.id ? "slow" : "silent");
      writeFileSync(file, JSON.stringify({ ...rest, state: "running", desired: "running", stoppedAt: null }));
      writeFileSync(status(id), "Crashed\n");
    }
    expect(JSON.parse(readFileSync(noted(first.home), "utf8")).sort()).toEqual([body.id, silent.id].sort());
    // Longer than the start waits for it.
    const late = join(first.home, "msb");
    const wait = `[ "$1" != ls ] || [ -e "$MSB_HOME/answers" ] || { sleep 6; : >"$MSB_HOME/answers"; exit 1; }`;
    writeFileSync(late, `#!/bin/sh\n${wait}\nexec ${FAKE_MSB} "$@"\n`);
    chmodSync(late, 0o755);
    const second = await TestGateway.start({ MSB_PATH: late }, first.home);
    for (const id of [body.id, silent.id]) {
      await until(() => readFileSync(status(id), "utf8") === "Running\n", "it to run again", 20_000);
      expect((await second.get(`/v1/sandboxes/${id}`)).body.status).toBe("running");
    }
  }, 60_000);

  test("a server that is stopped before it came to it leaves it to the next", async () => {
    const first = await TestGateway.start();
    const patient = (await first.create("patient")).body;
    await first.gateway.stop();
    const second = await TestGateway.start({ STOP_TIMEOUT_SECONDS: "1" }, first.home, { resume: false });
    const later = (await second.create("later")).body;
    await second.gateway.stop();
    const left = JSON.parse(readFileSync(noted(first.home), "utf8"));
    expect(left.sort()).toEqual([patient.id, later.id].sort());
  });
});

describe("the version on the state volume", () => {
  const version = (home: string) => readFileSync(join(home, "gateway", "version"), "utf8");

  it("is that of the server that used it last", async () => {
    const { home } = await TestGateway.start();
    expect(version(home)).toBe("0.7.11");
  });

  it("keeps an older server from starting, and says what to type", async () => {
    const home = temporaryFolder();
    mkdirSync(join(home, "gateway"));
    writeFileSync(join(home, "gateway", "version"), "0.8.0");
    await expect(TestGateway.start({}, home)).rejects.toThrow(
      /0\.8\.0[\s\S]*0\.7\.11[\s\S]*set version to 0\.8\.0/,
    );
    expect(version(home)).toBe("0.8.0");
    await claimState(home, "0.8.1");
    expect(version(home)).toBe("0.8.1");
  });

  it.each([
    ["0.7.11", "0.7.2", true],
    ["0.7.2", "0.7.11", false],
    ["1.0.0", "0.9.9", true],
    ["0.7.11", "0.7.11", false],
    ["", "0.1.0", false],
    ["1.0.0", "1.0.0-beta.1", true],
    ["1.0.0-beta.1", "1.0.0", false],
  ])("%s is newer than %s: %s", (a, b, expected) => {
    expect(isNewer(a, b)).toBe(expected);
  });
});
