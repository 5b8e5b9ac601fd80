import { existsSync } from "node:fs";
import { Agent, request } from "node:https";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { docker, ownedBy } from "../harness/docker";
import { PlainPulumi } from "../harness/plain-pulumi";
import { filesWithSecrets } from "../harness/secret-hunt";
import { freePort, smallServer } from "../harness/stack";

// With a capital letter: the image's name has none.
const stack = "test-Plain";
const base = `microsandbox-${stack}`;
const container = `${base}-server`;
const flags = ["--stack", stack];
const pulumi = new PlainPulumi();
/** The same checkout with a state of its own, as on another machine. */
const other = new PlainPulumi();
let port: number;
let settings: Record<string, unknown>;

beforeAll(async () => {
  const small = await smallServer();
  port = small.hostPort;
  settings = {
    ...small,
    devMode: false,
    tls: { generate: true },
  };
  await pulumi.start();
  await other.start();
  await pulumi.init(stack, settings);
});
afterAll(async () => {
  try {
    await pulumi.run("destroy", "--yes", "--skip-preview", ...flags);
    for (const volume of await ownedBy(stack, "volume")) await docker("volume", "rm", volume);
  } finally {
    pulumi.remove();
    other.remove();
  }
});

async function succeed(...args: string[]): Promise<string> {
  const { exitCode, output } = await pulumi.run(...args, ...flags);
  expect(exitCode, output).toBe(0);
  return output;
}
/** Runs a preview and an up, both of which have to fail without a change on the host. */
async function refusal(who = pulumi): Promise<string> {
  const all = async () =>
    Promise.all((["container", "network", "volume"] as const).map((kind) => ownedBy(stack, kind)));
  const before = await all();
  const outputs: string[] = [];
  for (const command of [["preview"], ["up", "--yes", "--skip-preview"]]) {
    const { exitCode, output } = await who.run(...command, ...flags);
    expect(exitCode, output).not.toBe(0);
    expect(output).not.toMatch(/npm run|^\s+at .*:\d+:\d+/m);
    outputs.push(output);
  }
  expect(await all()).toEqual(before);
  return outputs.join("\n");
}
const up = () => succeed("up", "--yes", "--skip-preview");
const unchanged = () => succeed("preview", "--refresh", "--expect-no-changes");
const output = async (name: string, ...more: string[]) =>
  (await pulumi.run("stack", "output", name, ...more, ...flags)).stdout.trim();
const config = (...args: string[]) => succeed("config", ...args);

/** What the server answers to a key, and the certificate that it shows. */
function ask(key: string, authority: string): Promise<{ status?: number; validFrom: string }> {
  const options = { host: "127.0.0.1", port, path: "/v1/sandboxes", ca: authority, agent: new Agent() };
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, headers: { authorization: `Bearer ${key}` } }, (answer) => {
      const { valid_from: validFrom } = (answer.socket as import("node:tls").TLSSocket).getPeerCertificate();
      answer.resume().on("end", () => resolve({ status: answer.statusCode, validFrom }));
    });
    asked.once("error", reject).end();
  });
}

describe("what belongs to somebody else is refused before anything is made", () => {
  it("a container", async () => {
    await docker("create", "--name", container, "debian:13.2-slim", "true");
    expect(await refusal()).toMatch(
      /container .*-server exists that was not made by this stack[\s\S]*docker rename/,
    );
    await docker("rm", container);
  });
  it("a network", async () => {
    await docker("network", "create", base);
    expect(await refusal()).toMatch(/network microsandbox-test-Plain exists that was not made by this stack/);
    await docker("network", "rm", base);
  });
  it("a volume", async () => {
    await docker("volume", "create", `${base}-state`);
    expect(await refusal()).toMatch(
      /volume .*-state was not made by this stack[\s\S]*pulumi config --stack test-Plain set --path microsandbox:volumes\.state/,
    );
    await docker("volume", "rm", `${base}-state`);
  });
});

describe("the first up", () => {
  let key: string;
  let authority: string;

  it("makes a key, which is a secret, and which the server takes", async () => {
    await up();
    expect(await output("apiKey")).toBe("[secret]");
    key = await output("apiKey", "--show-secrets");
    expect(key).toMatch(/^msb_[0-9a-f]{64}$/);
    authority = await output("caCertificate");
    expect((await ask(key, authority)).status).toBe(200);
    expect((await ask("x".repeat(68), authority)).status).toBe(401);
  });

  it("leaves the key nowhere in plain", async () => {
    expect(await filesWithSecrets(pulumi.home, { key })).toEqual([]);
    const seen = [
      await docker("inspect", container),
      await docker("logs", container),
      (await pulumi.run("stack", "export", ...flags)).stdout,
      (await pulumi.run("preview", "--diff", ...flags)).output,
    ];
    for (const text of seen) expect(text).not.toContain(key);
  });

  it("is the last one with anything to do", async () => {
    await unchanged();
    expect(await up()).toMatch(/Resources:\s+\d+ unchanged/);
    expect(await output("apiKey", "--show-secrets")).toBe(key);
  });

  it("is not repeated by a state that knows nothing of it: another checkout leaves the server alone", async () => {
    const before = await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container);
    await other.run("stack", "init", stack);
    expect(await refusal(other)).toMatch(/made by another deployment of the stack test-Plain/);
    expect(await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container)).toBe(before);
  });

  it("gives way to a key of the settings, without another container", async () => {
    const before = await docker("inspect", "--format", "{{.Id}}", container);
    const given = "g".repeat(40);
    await config("set", "--secret", "microsandbox:apiKey", given);
    await up();
    expect(await output("apiKey", "--show-secrets")).toBe(given);
    await expect.poll(async () => (await ask(given, authority)).status, { timeout: 10_000 }).toBe(200);
    expect((await ask(key, authority)).status).toBe(401);
    expect(await docker("inspect", "--format", "{{.Id}}", container)).toBe(before);
  });
});

it("a container in the server's place that somebody else made is refused later on too", async () => {
  await docker("rm", "--force", container);
  await docker("create", "--name", container, "debian:13.2-slim", "true");
  expect(await refusal()).toMatch(/exists that was not made by this stack/);
  await docker("rm", container);
  await succeed("refresh", "--yes", "--skip-preview");
  await up();
});

it("a destroy keeps the volumes, and the next up goes on with them", async () => {
  await docker("exec", "--user", "0", container, "sh", "-c", "echo kept >/workspace/kept");
  await succeed("destroy", "--yes", "--skip-preview");
  expect(await ownedBy(stack, "container")).toEqual([]);
  expect(await ownedBy(stack, "volume")).toHaveLength(2);
  await up();
  expect(await docker("exec", container, "cat", "/workspace/kept")).toBe("kept");
  await unchanged();
});

it("goes on after a kill -9 while it created the container, and a cancel", async () => {
  await succeed("destroy", "--yes", "--skip-preview");
  const running = pulumi.run("up", "--yes", "--skip-preview", ...flags);
  await expect.poll(() => ownedBy(stack, "container"), { timeout: 180_000, interval: 100 }).toHaveLength(1);
  process.kill(pulumi.lockOwner(stack) ?? 0, "SIGKILL");
  expect((await running).exitCode).not.toBe(0);
  expect(await up().catch(String)).toMatch(/locked[\s\S]*pulumi cancel/);
  await succeed("cancel", "--yes");
  expect(await succeed("preview")).toMatch(/container .*-server was created by an interrupted run/);
  expect(await up()).toMatch(/container .*-server was created by an interrupted run.*removing it/);
  expect(await docker("inspect", "--format", "{{.State.Health.Status}}", container)).toBe("healthy");
  expect(await docker("exec", container, "cat", "/workspace/kept")).toBe("kept");
  await unchanged();
});

it("a destroy of a protected stack removes nothing, key and authority neither", async () => {
  await config("set", "--path", "microsandbox:volumes.protect", "true");
  try {
    await up();
    const before = await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container);
    const outputs = async () => [await output("apiKey", "--show-secrets"), await output("caCertificate")];
    const made = await outputs();
    const { exitCode, output: said } = await pulumi.run("destroy", "--yes", "--skip-preview", ...flags);
    expect(exitCode).not.toBe(0);
    expect(said).toMatch(/protection-last.* cannot be deleted/);
    expect(await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container)).toBe(before);
    expect(await outputs()).toEqual(made);
    await unchanged();
  } finally {
    await config("set", "--path", "microsandbox:volumes.protect", "false");
    await up();
  }
});

const vendors = process.env.TEST_COMMAND_PLUGIN ?? "";
if (!existsSync(vendors))
  console.log("the vendor's command plugin not tested: TEST_COMMAND_PLUGIN names none");
describe.skipIf(!existsSync(vendors))("with the vendor's command plugin", () => {
  let theirs: PlainPulumi;
  beforeAll(() => {
    theirs = new PlainPulumi([vendors]);
  });
  const name = "test-plain-vendor";
  const run = async (...args: string[]) => {
    const { exitCode, output: said } = await theirs.run(...args, "--stack", name);
    expect(exitCode, said).toBe(0);
    return said;
  };
  afterAll(async () => {
    await theirs.run("destroy", "--yes", "--skip-preview", "--stack", name);
    theirs.remove();
  });

  it("deploys with a key and TLS, finds nothing to do, and goes", async () => {
    await theirs.start();
    await theirs.init(name, { ...settings, hostPort: await freePort(), volumes: { keep: false } });
    expect(await run("up", "--yes", "--skip-preview")).toContain(
      `${theirs.home}/bin/pulumi-resource-command`,
    );
    expect((await theirs.run("stack", "output", "apiKey", "--show-secrets", "--stack", name)).stdout).toMatch(
      /^msb_/,
    );
    await run("preview", "--refresh", "--expect-no-changes");
    await run("refresh", "--yes", "--skip-preview");
    expect(await run("up", "--yes", "--skip-preview")).toMatch(/Resources:\s+\d+ unchanged/);
    await run("destroy", "--yes", "--skip-preview");
    expect(await ownedBy(name, "volume")).toEqual([]);
  });
});
