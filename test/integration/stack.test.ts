import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ArchiveWriter, verifyArchive, volumeEntries } from "../../cli/backup/archive";
import type { Manifest } from "../../cli/backup/manifest";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { failedChecks } from "../harness/bench-security";
import { docker, ownedBy } from "../harness/docker";
import { hashOf } from "../harness/key-file";
import { TestRegistry } from "../harness/registry";
import { smallServer, TestStack } from "../harness/stack";

/** What Pulumi prints about a run that changed nothing. */
const unchanged = /Resources:\s+\d+ unchanged/;
const changed = /\d+ (created|updated|replaced|deleted)/;

let stack: TestStack;
let url: string;
const backups = mkdtempSync(join(tmpdir(), "microsandbox-backup-"));
const backup = join(backups, "drill.tar");
const container = "microsandbox-test-local-server";
const hostArchitecture = process.arch === "x64" ? "amd64" : process.arch;

beforeAll(async () => {
  const small = await smallServer();
  url = `http://127.0.0.1:${small.hostPort}`;
  stack = new TestStack("test-local", small);
});
afterAll(async () => {
  rmSync(backups, { recursive: true });
  await stack.remove();
  for (const volume of await ownedBy(stack.name, "volume")) await docker("volume", "rm", volume);
});

/** Runs `up`; a failure shows what it printed. */
async function up(): Promise<string> {
  const { exitCode, output } = await stack.up();
  expect(exitCode, output).toBe(0);
  return output;
}

it("deploys from nothing, ready when it ends", async () => {
  const output = await up();
  expect(output).toContain(`Ready: ${url}`);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${url}/version`)).json()).toMatchObject({ msb: "0.7.11" });
});

it("sets on the container what the settings say", async () => {
  const [inspected] = JSON.parse(await docker("inspect", container));
  expect(inspected.HostConfig).toMatchObject({
    Memory: 1024 ** 3,
    MemorySwap: 1024 ** 3,
    MemoryReservation: 256 * 1024 ** 2,
    CpuShares: 1024,
    PidsLimit: 4096,
    Init: true,
    RestartPolicy: { Name: "unless-stopped" },
    LogConfig: { Type: "json-file", Config: { "max-size": "100m", "max-file": "3" } },
  });
  expect(inspected.HostConfig.PortBindings["5555/tcp"][0].HostIp).toBe("127.0.0.1");
  if (!inspected.HostConfig.Privileged) expect(failedChecks(inspected)).toEqual([]);
  expect(inspected.Config.StopTimeout).toBe(20);
  expect(inspected.State.Health.Status).toBe("healthy");
});

it("tells what its image is made of", async () => {
  const file = join(backups, "sbom.json");
  const { exitCode, output } = await stack.sbom(file);
  expect(exitCode, output).toBe(0);
  const { bomFormat, components } = JSON.parse(readFileSync(file, "utf8"));
  expect(bomFormat).toBe("CycloneDX");
  expect(components).toContainEqual(expect.objectContaining({ name: "fastify", version: "5.12.8" }));
});

it("changes nothing when nothing has changed", async () => {
  expect(await up()).toMatch(unchanged);
  const refreshed = await stack.pulumi("up", "--refresh", "--yes", "--skip-preview");
  expect(refreshed.output).toMatch(unchanged);
  expect(refreshed.output).not.toMatch(changed);
  const preview = await stack.pulumi("preview", "--expect-no-changes");
  expect(preview.exitCode, preview.output).toBe(0);
});

describe("registries", () => {
  let registry: TestRegistry;
  let serverId: string;
  const set = async (path: string, value: string, ...flags: string[]) => {
    const { exitCode, output } = await stack.pulumi("config", "set", "--path", ...flags, path, value);
    expect(exitCode, output).toBe(0);
  };
  const inServer = (...words: string[]) => docker("exec", container, ...words);
  const id = () => docker("inspect", "--format", "{{.Id}}", container);

  beforeAll(async () => {
    registry = await TestRegistry.start(container);
    serverId = await id();
  });
  afterAll(() => registry.stop());

  it("are reached with a private authority and a password, without TLS, and by a mirror", async () => {
    await set('registries.mirrors["docker.io"]', `${registry.plain}/`);
    await set("registries.plainHttp[0]", registry.plain);
    await set("registries.certificates", `\n${registry.authority}`); // Its dashes look like an option's.
    await set(`registries.logins["${registry.private}"].username`, registry.login.username);
    await set(`registries.logins["${registry.private}"].password`, registry.login.password, "--secret");
    await set("images[0]", "tiny:1");
    await set("images[1]", `${registry.private}/team/private:2`);
    await up();
    const images = JSON.parse(await inServer("msb", "image", "ls", "--format", "json"));
    expect(images.map(({ reference }: { reference: string }) => reference)).toEqual(
      expect.arrayContaining([`${registry.plain}/library/tiny:1`, `${registry.private}/team/private:2`]),
    );
    expect(await id(), "no other container").toBe(serverId);
    expect(await up()).toMatch(unchanged);
  });

  it("keep their passwords to themselves", async () => {
    const { password } = registry.login;
    expect(await inServer("cat", `/var/lib/microsandbox/secrets/registries/127.0.0.1_5001`)).toBe(password);
    const state = await stack.pulumi("stack", "export");
    expect(state.stdout).toContain("registries-settings");
    expect(state.stdout).not.toContain(password);
    expect(await docker("inspect", container)).not.toContain(password);
    expect(await docker("logs", container)).not.toContain(password);
    const left = await exec("grep", ["--recursive", "--files-with-matches", password, ".pulumi-state"], {
      cwd: projectRoot,
      reject: false,
    });
    expect(left.stdout).toBe("");
  });

  it("are forgotten when they are set no more", async () => {
    for (const key of ["registries", "images"]) await stack.pulumi("config", "rm", key);
    await up();
    const found = await inServer(
      "sh",
      "-c",
      "ls /var/lib/microsandbox/secrets/registries; cat /var/lib/microsandbox/config.json",
    );
    expect(JSON.parse(found)).toEqual({ registries: { hosts: {} } });
    expect(await id()).toBe(serverId);
  });
});

it("gives other limits to the container that runs, without a restart", async () => {
  const identity = () => docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container);
  const before = await identity();
  stack.configure({ cpuLimit: 1.5, cpuReservation: 0.5, memoryLimit: "1200M", memoryReservation: "200M" });
  stack.configure({ pidsLimit: 2000 });
  await up();
  const [{ HostConfig }] = JSON.parse(await docker("inspect", container));
  expect(HostConfig).toMatchObject({
    CpuPeriod: 100_000,
    CpuQuota: 150_000,
    CpuShares: 512,
    Memory: 1200 * 1024 ** 2,
    MemorySwap: 1200 * 1024 ** 2,
    MemoryReservation: 200 * 1024 ** 2,
    PidsLimit: 2000,
  });
  expect(await identity()).toBe(before);
  expect(await up()).toMatch(unchanged);
});

it("makes a container again that was killed and removed, and keeps the volumes", async () => {
  await docker("exec", container, "sh", "-c", "echo kept > /var/lib/microsandbox/kept && sync");
  await docker("kill", "--signal", "KILL", container);
  await docker("rm", "--force", container);
  await up();
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
});

it("replaces the container when a setting of it changes, and keeps the volumes", async () => {
  stack.configure({ logMaxFiles: 2 });
  expect(await up()).toMatch(
    /-server is REPLACED \(changed: .*logOpts.*\): running sandboxes are stopped cleanly/,
  );
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
  expect(
    await docker("inspect", "--format", '{{index .HostConfig.LogConfig.Config "max-file"}}', container),
  ).toBe("2");
});

/** Creates or lists volumes of sandboxes. */
async function volumes(create?: string): Promise<string[]> {
  const headers = { authorization: "Bearer dev", "content-type": "application/json" };
  const body = create && JSON.stringify({ name: create, labels: {} });
  const answer = await fetch(`${url}/v1/volumes`, { headers, body, method: create ? "POST" : "GET" });
  expect(answer.status).toBe(200);
  const found = [await answer.json()].flat() as { name: string | null }[];
  return found.map(({ name }) => name).filter((name) => name !== null);
}

const startedAt = () => docker("inspect", "--format", "{{.State.StartedAt}}", container);

it("backs up both volumes into one file that plain tar reads", async () => {
  await volumes("data");
  // Sparse, as disks of sandboxes are: a backup must not grow to its nominal size.
  await docker("exec", container, "sh", "-c", "cd /workspace && echo kept > file && truncate -s 4G disk");
  const { exitCode, output } = await stack.backup(backup);
  expect(exitCode, output).toBe(0);
  expect(output).toMatch(/The server was down for \d+ s/);
  expect(statSync(backup).size).toBeLessThan(100 * 1024 ** 2);
  expect(statSync(backup).mode & 0o777).toBe(0o600);
  const manifest = JSON.parse((await exec("tar", ["-xOf", backup, "manifest.json"])).stdout);
  expect(manifest).toMatchObject({ stack: stack.name, version: "0.7.11", architecture: hostArchitecture });
  const again = await stack.backup(backup);
  expect(again.exitCode).toBe(1);
  expect(again.output).toMatch(/it exists/);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

it.each<[string, () => Promise<string>, RegExp]>([
  [
    "an altered backup",
    async () => altered((bytes) => bytes.writeUInt8(bytes[3000] === 1 ? 2 : 1, 3000)),
    /not an intact backup/,
  ],
  ["a truncated one", async () => altered((bytes) => bytes.subarray(0, bytes.length - 1)), /truncated/],
  [
    "one of another processor",
    () => withManifest({ architecture: "riscv64" }),
    /riscv64[\s\S]*same architecture/,
  ],
  [
    "one of a newer version",
    () => withManifest({ version: "99.0.0" }),
    /99\.0\.0, newer[\s\S]*config set version/,
  ],
  ["one over what is there", async () => backup, /not empty[\s\S]*1 volumes[\s\S]*--force/],
])("restores nothing, and does not even stop the server: %s", async (_name, make, message) => {
  const before = await startedAt();
  const { exitCode, output } = await stack.restore(await make());
  expect(exitCode).toBe(1);
  expect(output).toMatch(message);
  expect(output, "no stack trace").not.toMatch(/^\s+at .*:\d+:\d+/m);
  expect(await startedAt()).toBe(before);
});

/** The backup with other bytes. */
function altered(change: (bytes: Buffer) => unknown): string {
  const bytes = readFileSync(backup);
  const changed = change(bytes);
  writeFileSync(join(backups, "other.tar"), Buffer.isBuffer(changed) ? changed : bytes);
  return join(backups, "other.tar");
}

/** The backup with another manifest, and the checksums to it. */
async function withManifest(change: Partial<Manifest>): Promise<string> {
  const path = join(backups, "other.tar");
  rmSync(path, { force: true });
  const { manifest, read } = await verifyArchive(backup, () => {});
  const writer = await ArchiveWriter.open(path);
  for (const name of volumeEntries) await writer.add(name, read(name), () => {});
  await writer.finish({ ...manifest, ...change });
  return path;
}

describe("keys", () => {
  let key: string;
  const status = async (given: string) =>
    (await fetch(`${url}/v1/quotas`, { headers: { authorization: `Bearer ${given}` } })).status;
  const keys = async (...words: string[]) => {
    const done = await stack.keys(...words);
    expect(done.exitCode, done.output).toBe(0);
    return done;
  };
  const refused = async (...words: string[]) => {
    const { exitCode, output } = await stack.keys(...words);
    expect(exitCode).toBe(1);
    expect(output, "no stack trace").not.toMatch(/^\s+at .*:\d+:\d+/m);
    return output;
  };

  afterAll(() => stack.configure({ devMode: undefined, isolateByKey: undefined }));

  it("are of no use in dev mode, which is said", async () => {
    expect(await refused("add", "ci")).toMatch(/devMode is true[\s\S]*set devMode false/);
  });

  it("are made by the first up without it, and by the command before and after", async () => {
    stack.configure({ devMode: false, isolateByKey: true });
    const early = (await keys("add", "early", "--sandboxes", "2")).stdout.trim();
    expect(early).toMatch(/^msb_[0-9a-f]{64}$/);
    expect(await up()).toContain("export MSB_API_KEY=KEY");
    expect(await status(early)).toBe(200);
    expect(await status("dev")).toBe(401);

    const before = await startedAt();
    key = (await keys("add", "ci", "--expires", "30d", "--memory", "512M")).stdout.trim();
    expect(await status(key)).toBe(200);
    expect(await startedAt(), "the same container").toBe(before);
    const list = (await keys("list")).stdout;
    expect(list).toMatch(/^ci +\S+ \S+ +\S+ \S+ +(never|\S+ \S+) +memoryMiB 512$/m);
    expect(list).toMatch(/^early .* sandboxes 2$/m);
    expect(await docker("exec", container, "stat", "-c", "%a", "/var/lib/microsandbox/gateway/keys")).toBe(
      "400",
    );
  });

  it("are rotated and revoked at once, and the next up has nothing to do", async () => {
    const renewed = (await keys("rotate", "ci", "--overlap", "1h")).stdout.trim();
    expect([await status(renewed), await status(key)]).toEqual([200, 200]);
    await keys("revoke", "ci");
    await sleep(1000);
    expect([await status(renewed), await status(key)]).toEqual([401, 401]);
    expect((await keys("list")).stdout).not.toMatch(/^ci/m);
    const preview = await stack.pulumi("preview", "--expect-no-changes");
    expect(preview.exitCode, preview.output).toBe(0);
  });

  it("that are asked for by error are answered with what was meant", async () => {
    expect(await refused("revoke", "erly")).toContain("Did you mean early?");
    expect(await refused("add", "x", "--expires", "soon")).toContain("not a date");
  });

  it("are in no state, as hashes neither", async () => {
    const state = await stack.pulumi("stack", "export");
    expect(state.stdout).toContain("key-file");
    expect(state.stdout).not.toContain(hashOf(key));
    expect(await docker("inspect", container)).not.toContain(hashOf(key));
    expect(await docker("logs", container)).not.toContain(key);
  });
});

it("destroys everything but the volumes that are to be kept, and says so", async () => {
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(output).toMatch(/volume microsandbox-test-local-state STAYS on the host with all its data/);
  expect(await ownedBy(stack.name, "container")).toEqual([]);
  expect(await ownedBy(stack.name, "network")).toEqual([]);
  expect(await ownedBy(stack.name, "volume")).toEqual([
    "microsandbox-test-local-state",
    "microsandbox-test-local-workspace",
  ]);
  expect(await docker("images", "--quiet", "microsandbox-test-local")).toBe("");
  await expect(fetch(url)).rejects.toThrow();
  const [, removal] = /to remove it: docker volume rm (.*)/.exec(output) ?? [];
  expect(removal?.split(" ").sort()).toEqual(await ownedBy(stack.name, "volume"));
});

it("finds the kept volumes again, and removes them when told so", async () => {
  stack.configure({ volumes: '{"keep":false}' });
  await up();
  expect(await docker("exec", container, "cat", "/var/lib/microsandbox/kept")).toBe("kept");
  const { exitCode, output } = await stack.destroy();
  expect(exitCode, output).toBe(0);
  expect(output).toMatch(/volume microsandbox-test-local-state is REMOVED with all its data/);
  expect(await ownedBy(stack.name, "volume")).toEqual([]);
});

it("comes back from a backup on a host that has nothing of it", async () => {
  await up();
  expect(await volumes()).toEqual([]);
  const { exitCode, output } = await stack.restore(backup);
  expect(exitCode, output).toBe(0);
  expect(await volumes()).toEqual(["data"]);
  const seen =
    "cat /var/lib/microsandbox/kept /workspace/file && stat -c %s /workspace/disk && du -k /workspace/disk";
  expect(await docker("exec", container, "sh", "-c", seen)).toMatch(/^kept\nkept\n4294967296\n\d{1,3}\t/);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});
