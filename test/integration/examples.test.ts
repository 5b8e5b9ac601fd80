import { randomBytes } from "node:crypto";
import { copyFileSync, cpSync, linkSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contextHash } from "../../components/image/context-hash";
import { buildTool } from "../../offline/go-build";
import { yamlLanguage } from "../../offline/recipes";
import { exec } from "../../setup/exec";
import { projectRoot } from "../../setup/project";
import { silentReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { toolsCache } from "../../setup/tools/cache";
import { docker } from "../harness/docker";
import { noSshd, Sshd } from "../harness/sshd";
import { freePort, giveKvmToItsGroup } from "../harness/stack";

// As a user has them: projects of their own, in a folder with a space, that have installed the packed file.
const scratch = mkdtempSync(join(tmpdir(), "my projects-"));
// One that no other run has: a run that is killed leaves its own on the engine.
const stack = `dev-${randomBytes(3).toString("hex")}`;
let environment: Record<string, string> = {};
let packed = "";

/** Copies a program into a folder where pulumi finds it and the language hosts beside it. */
function place(bin: string, file: string): void {
  const target = join(bin, file.split("/").at(-1) ?? file);
  try {
    linkSync(file, target);
  } catch {
    copyFileSync(file, target);
  }
}

beforeAll(async () => {
  await giveKvmToItsGroup();
  const tools = await ensureTools(silentReporter);
  const bin = join(scratch, "bin");
  const state = join(scratch, "state");
  for (const folder of [bin, state]) mkdirSync(folder);
  for (const name of ["pulumi", "pulumi-language-nodejs"]) place(bin, realpathSync(join(tools.binDir, name)));
  place(bin, await buildTool(toolsCache(), yamlLanguage, silentReporter));
  environment = {
    ...tools.env,
    PATH: `${bin}:${tools.env.PATH}`,
    PULUMI_BACKEND_URL: pathToFileURL(state).href,
    PULUMI_CONFIG_PASSPHRASE: "test",
  };
  const { stdout } = await exec("npm", ["pack", "--json", "--silent", "--pack-destination", scratch], {
    cwd: projectRoot,
  });
  packed = join(scratch, JSON.parse(stdout.slice(stdout.indexOf("[")))[0].filename);
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** An example in a folder of its own, with the packed file installed. */
async function install(example: string, folder = example) {
  const cwd = join(scratch, folder);
  cpSync(join(projectRoot, "examples", example), cwd, { recursive: true });
  await exec("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", packed], { cwd });
  const pulumi = (...args: string[]) =>
    exec("pulumi", [...args, "--non-interactive"], { cwd, env: environment, stdin: "ignore", all: true });
  return { cwd, pulumi };
}

/** What is on the engine under this part of a name. */
const onEngine = async (part: string): Promise<string> =>
  (
    await Promise.all([
      docker("ps", "--all", "--format", "{{.Names}}", "--filter", `name=${part}`),
      docker("volume", "ls", "--quiet", "--filter", `name=${part}`),
      docker("network", "ls", "--format", "{{.Name}}", "--filter", `name=${part}`),
    ])
  )
    .join("\n")
    .trim();

/** Deploys an example, looks at it, sees that there is nothing to do, and destroys it. What the first up said. */
async function deployed(
  pulumi: Awaited<ReturnType<typeof install>>["pulumi"],
  base: string,
  port: number,
): Promise<string | undefined> {
  let said: string | undefined;
  try {
    said = (await pulumi("up", "--yes", "--skip-preview")).all;
    const { endpoint, container } = JSON.parse((await pulumi("stack", "output", "--json")).stdout);
    expect(container).toBe(`${base}-server`);
    expect(endpoint).toBe(`http://127.0.0.1:${port}`);
    expect((await fetch(`${endpoint}/readyz`)).status).toBe(200);
    const again = await pulumi("up", "--yes", "--skip-preview", "--expect-no-changes");
    expect(again.all).toContain("unchanged");
  } finally {
    await pulumi("destroy", "--yes", "--skip-preview");
  }
  expect(await onEngine(base)).toBe("");
  return said;
}

describe("the packed file", () => {
  it("makes the image that the checkout makes", async () => {
    const { cwd } = await install("yaml", "packed");
    const installed = join(cwd, "node_modules/microsandbox-stack");
    expect(contextHash(join(installed, "docker"))).toBe(contextHash(join(projectRoot, "docker")));
    const schema = await exec(
      "pulumi",
      ["package", "get-schema", join(installed, "bin/pulumi-resource-microsandbox")],
      { cwd: scratch, env: environment },
    );
    const { resources, types, name } = JSON.parse(schema.stdout);
    expect(name).toBe("microsandbox");
    expect(Object.keys(resources)).toEqual(["microsandbox:index:Microsandbox"]);
    expect(Object.keys(types)).toContain("microsandbox:index:Volumes");
  });
});

describe("the example in TypeScript", () => {
  it.skipIf(noSshd)("goes to an address that is an output, and comes and goes whole", async () => {
    const sshd = await Sshd.prepare();
    try {
      const { cwd, pulumi } = await install("typescript");
      await exec("npx", ["tsc", "--noEmit"], { cwd });
      await pulumi("stack", "init", stack);
      const port = await freePort();
      const { address, identityFile = "" } = sshd.connection;
      const config = {
        address: `${address}:${sshd.port}`,
        sshKeyFile: identityFile,
        sshHostKey: sshd.hostKey,
        hostPort: String(port),
      };
      for (const [key, value] of Object.entries(config)) await pulumi("config", "set", key, value);
      const preview = await pulumi("preview");
      expect(preview.all).toMatch(/endpoint\s*: \[unknown\]/);
      expect(sshd.logins, "no host is asked whose address is not known").toBe(0);
      // As a machine that is still starting.
      const [said] = await Promise.all([
        deployed(pulumi, `sandboxes-on-a-vm-sandboxes-${stack}`, port),
        setTimeout(20_000).then(() => sshd.listen()),
      ]);
      expect(said).toMatch(/Waiting for the new machine 127\.0\.0\.1: its SSH server can't be reached/);
    } finally {
      sshd.stop();
    }
  });
});

describe("the example in YAML", () => {
  it("comes and goes whole, by the plugin of the packed file", async () => {
    const { pulumi } = await install("yaml");
    await pulumi("stack", "init", stack);
    await pulumi("config", "set", "hostPort", "70000");
    await expect(pulumi("preview")).rejects.toThrow("microsandbox:hostPort is 70000");
    const port = await freePort();
    await pulumi("config", "set", "hostPort", String(port));
    await deployed(pulumi, `sandboxes-in-yaml-sandboxes-${stack}`, port);
  });
});
