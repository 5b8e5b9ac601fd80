import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { localEngine } from "../../../../components/host/local-engine";
import { Microsandbox } from "../../../../components/microsandbox";
import { exec } from "../../../../setup/exec";
import { registered } from "../../../harness/pulumi-mocks";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-context-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A folder of the docker client's, with two contexts. */
function clientFolder(currentContext?: string): string {
  const own = mkdtempSync(join(folder, "docker-"));
  if (currentContext) writeFileSync(join(own, "config.json"), JSON.stringify({ currentContext }));
  for (const name of ["rootless", "colima"]) {
    const meta = join(own, "contexts/meta", createHash("sha256").update(name).digest("hex"));
    mkdirSync(meta, { recursive: true });
    const docker = { Host: `unix:///run/${name}.sock`, SkipTLSVerify: false };
    writeFileSync(
      join(meta, "meta.json"),
      JSON.stringify({ Name: name, Metadata: {}, Endpoints: { docker } }),
    );
  }
  return own;
}

const cases: [string, NodeJS.ProcessEnv, string][] = [
  ["nothing", { DOCKER_CONFIG: clientFolder() }, "unix:///var/run/docker.sock"],
  ["docker context use", { DOCKER_CONFIG: clientFolder("rootless") }, "unix:///run/rootless.sock"],
  [
    "DOCKER_CONTEXT before it",
    { DOCKER_CONFIG: clientFolder("rootless"), DOCKER_CONTEXT: "colima" },
    "unix:///run/colima.sock",
  ],
  [
    "DOCKER_HOST before both",
    { DOCKER_CONFIG: clientFolder("rootless"), DOCKER_CONTEXT: "colima", DOCKER_HOST: "unix:///run/x.sock" },
    "unix:///run/x.sock",
  ],
  [
    "the default context",
    { DOCKER_CONFIG: clientFolder("rootless"), DOCKER_CONTEXT: "default" },
    "unix:///var/run/docker.sock",
  ],
];
const hasClient = spawnSync("docker", ["--version"]).status === 0;

describe("4 and B5: the engine of this machine is the docker client's:", () => {
  it.each(cases)("%s", async (_name, environment, expected) => {
    expect(localEngine(environment)).toBe(expected);
    if (!hasClient) return;
    const env = { DOCKER_HOST: undefined, DOCKER_CONTEXT: undefined, ...environment };
    const format = "{{.Endpoints.docker.Host}}";
    const { stdout } = await exec("docker", ["context", "inspect", "--format", format], { env });
    expect(stdout).toBe(expected);
  });

  it("a context that does not exist is refused by name", () => {
    const environment = { DOCKER_CONFIG: clientFolder(), DOCKER_CONTEXT: "nowhere" };
    expect(() => localEngine(environment)).toThrow(/context nowhere does not exist[\s\S]*docker context ls/);
  });
});

it.each([
  ["local", ["unix:///run/rootless.sock"]],
  ["ssh://me@host.test", ["ssh://me@host.test", "unix:///run/rootless.sock"]],
])("every provider uses its own engine, whatever the context: %s", async (host, expected) => {
  vi.stubEnv("DOCKER_HOST", undefined);
  vi.stubEnv("DOCKER_CONTEXT", undefined);
  vi.stubEnv("DOCKER_CONFIG", clientFolder("rootless"));
  const resources = await registered(() => new Microsandbox("sandboxes", { host }));
  const providers = resources.filter(({ type }) => type === "pulumi:providers:docker");
  expect(providers.map(({ inputs }) => inputs.host).sort()).toEqual(expected);
  expect(providers.map(({ inputs }) => inputs.context)).toEqual(providers.map(() => ""));
  const names = providers.map(({ name }) => name);
  const used = resources.filter(({ type }) => type.startsWith("docker:")).map(({ provider }) => provider);
  for (const each of used)
    expect(
      names.some((name) => each?.includes(`::${name}::`)),
      each,
    ).toBe(true);
});
