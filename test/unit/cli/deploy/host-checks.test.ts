import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { StateResource } from "../../../../cli/deploy/drift";
import { checkHost } from "../../../../cli/deploy/host-checks";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { freePort } from "../../../harness/stack";
import { type Host, writeFakeDocker } from "../../components/host/preflight-host";

const temporary = mkdtempSync(join(tmpdir(), "microsandbox-host-checks-"));
afterAll(() => rmSync(temporary, { recursive: true }));
let folders = 0;

/** What the checks find on this machine, whose engine is a made-up one. */
async function findings(
  engine: Host,
  settings: Record<string, unknown>,
  { resources = [] as StateResource[], engineAnswers = true, stack = "dev" } = {},
) {
  const folder = join(temporary, String(folders++));
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  writeFakeDocker(bin, folder, engine);
  const environment = { PATH: `${bin}:${process.env.PATH}`, DOCKER_HOST: "unix:///var/run/docker.sock" };
  const host = {
    ...parseSettings({ hostPort: await freePort(), kvmCheck: "off", ...settings }),
    name: "default",
    baseName: "microsandbox-dev",
  };
  return checkHost(host, { stack, resources, environment, engineAnswers });
}

/** What stops an `up` there. */
async function stops(...given: Parameters<typeof findings>): Promise<string> {
  const found = await findings(...given);
  return found.flatMap(({ verdict, what }) => (verdict === "stops" ? [what] : [])).join("\n");
}

describe("a host of this machine is asked what `up` asks it", () => {
  it("is ok where all is as it should be", async () => {
    expect(await findings({}, {})).toEqual([
      { verdict: "ok", what: expect.stringContaining("local: The Docker engine 26.1.5") },
    ]);
  });

  it("has the port free, which another process may hold", async () => {
    const occupant = createServer();
    const hostPort = await freePort();
    await new Promise<void>((done) => occupant.listen(hostPort, "127.0.0.1", done));
    try {
      expect(await stops({}, { hostPort })).toContain(`Port ${hostPort} on 127.0.0.1 is taken`);
    } finally {
      occupant.close();
    }
  });

  it("gives containers their privileges, and has the processor that the settings name", async () => {
    expect(await stops({ version: "19.03 1.40 amd64 linux" }, {})).toContain("engine-too-old");
    expect(await stops({}, { architecture: "arm64" })).toContain("architecture is arm64, but");
  });

  it("has no object of somebody else's under a name of the stack; its own are in nobody's way", async () => {
    const container = "microsandbox-dev-server\t\tmicrosandbox|dev|id1";
    expect(await stops({ containers: ["microsandbox-dev-server\t\tshop|prod|x"] }, {})).toContain(
      "belongs to the stack prod of shop",
    );
    const urn = (type: string, name: string) => `urn:pulumi:dev::microsandbox::${type}::${name}`;
    const docker = "docker:index/container:Container";
    const command = "command:local:Command";
    const resources = [
      { urn: urn(command, "microsandbox-deployment"), type: command, outputs: { stdout: "id1" } },
      {
        urn: urn(docker, "microsandbox-server-container"),
        type: docker,
        outputs: { name: "microsandbox-dev-server" },
      },
    ];
    expect(await stops({ containers: [container] }, {})).toContain("another deployment of the stack dev");
    for (const stack of ["dev", "org/dev"])
      expect(await stops({ containers: [container] }, {}, { resources, stack })).toBe("");
  });

  it.each([
    [
      "exited",
      "Exited (0) 2 minutes ago",
      "fixes",
      /was stopped.*npm run up -- --stack dev {3}\(starting it/,
    ],
    ["paused", "Up 2 hours (Paused)", "fixes", /was paused.*npm run up -- --stack dev/],
    [undefined, "", "fixes", /was removed.*npm run up -- --stack dev/],
    [
      "running",
      "Up 2 hours (unhealthy)",
      "warns",
      /not ready.*docker logs --tail 20 microsandbox-dev-server/,
    ],
    ["restarting", "Restarting (1) 2 seconds ago", "fixes", /ends again and again.*npm run up.*docker logs/],
    ["running", "Up 2 hours (healthy)", undefined, /^$/],
  ])("has a server that is %s, %s", async (state, status, verdict, message) => {
    const type = "docker:index/container:Container";
    const outputs = { name: "microsandbox-dev-server" };
    const resources = [
      {
        urn: `urn:pulumi:dev::microsandbox::${type}::microsandbox-server-container`,
        type,
        id: "c1",
        outputs,
      },
    ];
    const line = ["container", "c1", "microsandbox-dev-server", state, "microsandbox", "dev", status];
    const listed = state === undefined ? [] : [line.join("\t")];
    const [, ...found] = await findings({ listed }, {}, { resources });
    expect(found.map((each) => each.verdict)).toEqual(verdict === undefined ? [] : [verdict]);
    expect(found.map(({ what, remedy }) => `${what} ${remedy}`.replaceAll("\n", " ")).join()).toMatch(
      message,
    );
  });

  it("has lost nothing that a list which failed does not have", async () => {
    const type = "docker:index/container:Container";
    const outputs = { name: "microsandbox-dev-server" };
    const urn = `urn:pulumi:dev::microsandbox::${type}::microsandbox-server-container`;
    const [, ...found] = await findings({ unlisted: true }, {}, { resources: [{ urn, type, outputs }] });
    expect(found).toMatchObject([
      { verdict: "warns", what: expect.stringMatching(/^local: Docker can't list what is there/) },
    ]);
  });

  it("is the host that the stack is deployed on", async () => {
    const urn = (type: string, name: string) => `urn:pulumi:dev::microsandbox::${type}::${name}`;
    const docker = "docker:index/volume:Volume";
    const host = "microsandbox:index:DockerHost";
    const resources = (connection: object): StateResource[] => [
      {
        urn: urn(docker, "microsandbox-storage-state"),
        type: docker,
        outputs: { name: "microsandbox-dev-state" },
      },
      { urn: urn(host, "microsandbox-host"), type: host, outputs: { connection } },
    ];
    const elsewhere = resources({ kind: "ssh", user: "root", address: "old.test" });
    const moved = /deployed on the host ssh:\/\/root@old\.test, and host is (local|emulated) now/;
    expect(await stops({}, {}, { resources: elsewhere })).toMatch(moved);
    expect(await stops({}, { host: "emulated" }, { resources: elsewhere })).toMatch(moved);
    expect(await stops({}, {}, { resources: resources({ kind: "local" }) })).toBe("");
  });

  it("is not asked of its engine where `up` has to install one first", async () => {
    expect(await findings({ error: "Cannot connect" }, {}, { engineAnswers: false })).toEqual([]);
    expect(await stops({ error: "Cannot connect" }, {})).toContain("engine-down");
  });

  it("is asked of KVM unless `kvmCheck` is off", async () => {
    const kvm = (found: { what: string }[]) => found.slice(1).map(({ what }) => what);
    expect(kvm(await findings({}, { kvmCheck: "off" }))).toEqual([]);
    expect(kvm(await findings({}, { kvmCheck: "device" }))).toHaveLength(1);
  });

  it("has an API key to check where no key is to be made", async () => {
    expect(await stops({}, { devMode: false, generateApiKey: false })).toContain("there is no API key");
    expect(await stops({}, { devMode: false })).toBe("");
  });
});

it("an ssh host that can't be reached is told with the reason", async () => {
  expect(await stops({}, { host: `ssh://root@127.0.0.1:${await freePort()}` })).toMatch(
    /SSH server can't be reached[\s\S]*fix:/,
  );
});

it("says of a stack's name that is too long for an emulated host how long it may be", async () => {
  const stack = "n".repeat(90);
  const host = { ...parseSettings({ host: "emulated" }), name: "default", baseName: `microsandbox-${stack}` };
  const found = await checkHost(host, { stack, resources: [], environment: {}, engineAnswers: true });
  expect(found).toEqual([{ verdict: "stops", what: expect.stringMatching(/so at most 50 in the stack/) }]);
});

it("says of a stack that is deployed on an emulated host that this one does not run", async () => {
  const component = "urn:pulumi:s::p::microsandbox:index:Microsandbox::microsandbox";
  const resources = [
    { urn: component, type: "microsandbox:index:Microsandbox" },
    { urn: `${component}$x::host-emulated-machine`, type: "command:local:Command", parent: component },
  ];
  const host = {
    ...parseSettings({ host: "emulated", hostPort: await freePort() }),
    ...{ name: "default", baseName: "microsandbox-never-made" },
  };
  const context = { stack: "dev", environment: {}, engineAnswers: true };
  const whats = async (known: StateResource[]) =>
    (await checkHost(host, { ...context, resources: known })).map(({ what }) => what).join("\n");
  expect(await whats(resources)).toMatch(
    /microsandbox-never-made, on which this stack is deployed, is not running/,
  );
  expect(await whats([])).not.toMatch(/is not running/);
});
