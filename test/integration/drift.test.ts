import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stateFolder } from "../../cli/backend";
import { canRunPrivileged, docker, ownedBy } from "../harness/docker";
import { freePort, TestStack } from "../harness/stack";

const baseName = "microsandbox-test-drift";
const container = `${baseName}-server`;
let stack: TestStack;

beforeAll(async () => {
  stack = new TestStack("test-drift", {
    hostPort: await freePort(),
    privileged: await canRunPrivileged(),
    kvmCheck: "device",
    stopTimeout: 5,
    volumes: '{"keep":false}',
  });
  await up();
  await docker("exec", container, "sh", "-c", "echo kept > /workspace/kept");
});
afterAll(() => stack.remove());

/** Runs `up` over what was changed; a failure shows what it printed. The server is ready afterwards. */
async function up(): Promise<string> {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  expect(await docker("inspect", "--format", "{{.State.Health.Status}}", container)).toBe("healthy");
  return output;
}

/** All containers that carry its name, whoever made them: other tests run beside this one. */
const containers = () => docker("ps", "--all", "--quiet", "--no-trunc", "--filter", `name=${baseName}`);

/** Runs `up`, which has to refuse and to leave everything as it is. */
async function refusal(): Promise<string> {
  const before = await containers();
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(1);
  expect(await containers()).toBe(before);
  return output;
}

const kept = () => docker("exec", container, "cat", "/workspace/kept");
const id = () => docker("inspect", "--format", "{{.Id}}", container);

it("wakes a server that was paused or stopped, without another container", async () => {
  const before = await id();
  await docker("pause", container);
  expect(await up()).toMatch(/was paused: resuming it/);
  await docker("stop", container);
  expect(await up()).toMatch(/was stopped: starting it/);
  expect(await id()).toBe(before);
});

it("leaves a container alone that somebody else put in the place of the server", async () => {
  await docker("rm", "--force", container);
  await docker("run", "--detach", "--name", container, "debian:13.2-slim", "sleep", "600");
  expect(await refusal()).toMatch(
    /not made by this stack[\s\S]*The host was not changed[\s\S]*docker rename/,
  );
  await docker("rm", "--force", container);
  await up();
});

it("makes again what was removed, and says what is lost with it", async () => {
  await docker("rm", "--force", container);
  await docker("network", "rm", baseName);
  await docker("volume", "rm", `${baseName}-state`);
  // By name: another stack's image can be the same one.
  const images = await docker("images", "--format", "{{.Repository}}:{{.Tag}}", baseName);
  await docker("rmi", "--force", ...images.split("\n"));
  const output = await up();
  expect(output).toMatch(/container .* was removed: it is created again, the volumes are kept/);
  expect(output).toMatch(/network .* was removed: it is created again/);
  expect(output).toMatch(/volume .*-state was removed[\s\S]*an empty one is created[\s\S]*npm run restore/);
  expect(output).toMatch(/RemoteImage microsandbox-image-build created/);
  expect(await kept()).toBe("kept");
});

it("puts the server into a network that was removed under it", async () => {
  await docker("stop", container);
  await docker("network", "rm", baseName);
  expect(await up()).toMatch(/network .* was removed: it is created again/);
  const networks = await docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container);
  const inspected = await docker("network", "inspect", "--format", "{{.Id}}", baseName);
  expect(JSON.parse(networks)[baseName].NetworkID).toBe(inspected);
});

it("takes no volume that was not made for it", async () => {
  const foreign = `${baseName}-foreign`;
  await docker("volume", "create", foreign);
  stack.configure({ volumes: `{"keep":false,"workspace":"${foreign}"}` });
  expect(await refusal()).toMatch(/was not made by this stack[\s\S]*volumes\.workspace/);
  stack.configure({ volumes: '{"keep":false}' });
  await docker("volume", "rm", foreign);
});

it("takes over what it finds by its labels where the state was lost", async () => {
  const file = join(stateFolder, ".pulumi/stacks/microsandbox", `${stack.name}.json`);
  renameSync(file, `${file}.lost`);
  expect(await refusal()).toMatch(
    /made by another deployment of the stack test-drift[\s\S]*docker stop .*-server && docker rm/,
  );

  const { exitCode, output } = await stack.import();
  expect(exitCode, output).toBe(0);
  rmSync(`${file}.lost`);
  expect(output).toMatch(/Found the volume microsandbox-test-drift-workspace: it is kept and used/);
  expect(await kept()).toBe("kept");
  expect(await ownedBy(stack.name, "container")).toEqual([container]);
  const preview = await stack.pulumi("preview", "--refresh", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});
