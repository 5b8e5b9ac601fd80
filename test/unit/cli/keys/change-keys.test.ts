import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { changeKeys } from "../../../../cli/keys/change-keys";
import { addKey, revokeKey, rotateKey } from "../../../../cli/keys/keyring";
import { readOutputs } from "../../../../cli/outputs";
import { keyHash } from "../../../../components/server/key-file";
import { createReporter } from "../../../../setup/report";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-keys-"));
  // An engine that notes which server was given keys, and does not answer for the server of `away`.
  const docker = `#!/bin/sh
cat >/dev/null
case "$*" in *away*) echo "no answer" >&2; exit 1 ;; esac
echo "$3" >>"${folder}/told"
`;
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
  vi.spyOn(console, "log").mockReturnValue();
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const settings = {
  devMode: "false",
  apiKey: "a".repeat(40),
  keys: JSON.stringify([{ id: "ci", hash: keyHash("ci") }]),
};
const urn = (type: string, name: string) => `urn:pulumi:prod::p::${type}::${name}`;
/** The state with a server on each of these hosts. */
const deployed = (...hosts: string[]) =>
  hosts.flatMap((host) => {
    const [component, container] = ["microsandbox:index:Microsandbox", "docker:index/container:Container"];
    const ssh = "microsandbox:index:DockerHost";
    return [
      { urn: urn(component, `microsandbox-${host}`), type: component },
      { urn: urn(ssh, `microsandbox-${host}-host`), type: ssh, outputs: { connection: { kind: "local" } } },
      {
        ...{ urn: urn(container, `microsandbox-${host}-server-container`), type: container },
        outputs: { name: `${host}-server`, envs: ["DEV_MODE=false"] },
      },
    ];
  });

/** The reads of the commands, by their words; each may fail. */
const READS = ["stack --show-name", "config --json", "stack export"];

/** A pulumi with these settings and this state, and what it was asked to change. */
function pulumiWith(
  resources: object[],
  failing?: { words: string; error: string },
  config: object = settings,
  outputs: object = {},
) {
  const changes: string[] = [];
  const values = Object.entries(config).map(([key, value]) => [
    `microsandbox:${key}`,
    { value, secret: false },
  ]);
  const read = async (args: string[]) => {
    const words = args.slice(0, 2).join(" ");
    if (words === failing?.words) throw new Error(failing.error);
    if (words === "config --json") return JSON.stringify(Object.fromEntries(values));
    if (words === "stack output") return JSON.stringify(outputs);
    if (words === "stack export") return JSON.stringify({ deployment: { resources } });
    if (words !== "stack --show-name") changes.push(words);
    return "";
  };
  const written: string[] = [];
  const write = async (args: string[], input: string) => {
    changes.push(args.slice(0, 2).join(" "));
    written.push(input);
  };
  return { changes, written, pulumi: { read, write } };
}

type Make = Parameters<typeof changeKeys>[1];
const makes = {
  revoke: (keyring) => ({ keyring: revokeKey(keyring, "ci"), said: "Revoked ci" }),
  rotate: (keyring, now) => ({ ...rotateKey(keyring, "ci", { overlapMs: 0 }, now), said: "The new key ci" }),
  add: (keyring, now) => ({ ...addKey(keyring, "bob", {}, now), said: "Key bob" }),
} satisfies Record<string, Make>;

/** Runs a change; what it said. */
async function run(
  pulumi: ReturnType<typeof pulumiWith>["pulumi"],
  make: Make = makes.revoke,
): Promise<string> {
  const lines: string[] = [];
  const report = createReporter({ write: (line) => void lines.push(line) });
  await changeKeys({ stack: "prod", pulumi, report }, make);
  return lines.join("\n");
}
const told = () => readFileSync(join(folder, "told"), "utf8").trim().split("\n");

it("tells each server, then records it", async () => {
  const { pulumi, changes } = pulumiWith(deployed("east", "west"));
  expect(await run(pulumi)).toMatch(/east-server was updated[\s\S]*west-server was updated/);
  expect(told()).toEqual(["east-server", "west-server"]);
  expect(changes.at(-1)).toBe("up --yes");
});

it("fails with nothing changed where Pulumi can't be asked, whatever the failure, the read and the change", async () => {
  const errors = ["error: 503 Service Unavailable", "error: load checkpoint: EOF", "error: 429", "killed"];
  const cases = [
    fc.constantFrom(...READS),
    fc.constantFrom(...errors),
    fc.constantFrom(...Object.values<Make>(makes)),
  ] as const;
  await fc.assert(
    fc.asyncProperty(...cases, async (words, error, make) => {
      const { pulumi, changes } = pulumiWith(deployed("east"), { words, error });
      await expect(run(pulumi, make)).rejects.toThrow(error);
      expect(changes).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

it("fails and names the server that keeps a key, after the others were told", async () => {
  const { pulumi, changes } = pulumiWith(deployed("away", "east"));
  await expect(run(pulumi)).rejects.toThrow(
    /^away-server was not updated and keeps its current keys: no answer\nTo update it: npm run up -- --stack prod/,
  );
  expect(told()).toEqual(["east-server"]);
  expect(changes).toEqual(["config rm"]);
});

it("fails and names the server where it keeps the last key", async () => {
  const { pulumi } = pulumiWith(deployed("away"), undefined, {
    ...settings,
    apiKey: undefined,
    generateApiKey: "false",
  });
  await expect(run(pulumi)).rejects.toThrow("away-server was not updated and keeps its current keys");
});

it("replaces the key that the first up made, whatever keys of their own some hosts have", async () => {
  const own = { apiKey: "o".repeat(40) };
  const key = `msb_${"0".repeat(64)}`;
  const secret = (text: string) => ({ stdout: { plaintext: JSON.stringify(text) } });
  const type = "command:local:Command";
  const made = { urn: urn(type, "microsandbox-api-key"), type, outputs: secret(`${key}\n`) };
  const other = { urn: urn(type, "microsandbox-tls-certificate"), type, outputs: { stdout: "text" } };
  await fc.assert(
    fc.asyncProperty(fc.subarray(["default", "east", "west"], { maxLength: 2 }), async (withOwn) => {
      const hosts = ["default", "east", "west"].map((host, index) => [
        host,
        { hostPort: 6000 + index, ...(withOwn.includes(host) ? own : {}) },
      ]);
      const config = { devMode: "false", hosts: JSON.stringify(Object.fromEntries(hosts)) };
      const { pulumi, written } = pulumiWith([other, made], undefined, config);
      await run(pulumi, (keyring, now) => ({
        ...rotateKey(keyring, "default", { overlapMs: 3_600_000 }, now),
        said: "The new key default",
      }));
      const [, keys] = written;
      expect(JSON.parse(keys ?? "")).toMatchObject([{ id: "default", hash: keyHash(key) }]);
    }),
    { numRuns: 5 },
  );
});

it("changes the file alone where no server is deployed", async () => {
  const { pulumi, changes } = pulumiWith([]);
  expect(await run(pulumi)).toContain("No server of stack prod uses keys yet");
  expect(changes).toEqual(["config rm"]);
});

it("has no outputs of a stack that was never deployed, and fails where they can't be read", async () => {
  const failing = (error: string) => ({ read: () => Promise.reject(new Error(error)) });
  expect(await readOutputs("prod", failing("error: no stack named 'prod' found"))).toEqual({});
  await expect(readOutputs("prod", failing("error: 503"))).rejects.toThrow(
    /can't be read: error: 503\nTo see/,
  );
});

describe("on a cluster", () => {
  const cluster = {
    cluster: JSON.stringify({ servers: 2 }),
    serverImage: `registry.test/server@sha256:${"a".repeat(64)}`,
    tls: JSON.stringify({ generate: true }),
    ...{ generateApiKey: "false", keys: settings.keys },
  };
  const outputs = { namespace: "sandboxes" };

  it("a changed key goes to the routers' Secret, which is a resource of the stack", async () => {
    for (const make of [makes.add, makes.rotate]) {
      const { pulumi, changes, written } = pulumiWith([], undefined, cluster, outputs);
      expect(await run(pulumi, make)).toMatch(/The routers of sandboxes were updated/);
      expect(changes).toEqual(["config set", "up --yes"]);
      expect(written).toEqual([expect.stringMatching(/"hash":"sha256:/)]);
    }
  });

  it("the last key is not revoked: the program would refuse to run, and the Secret keep it", async () => {
    const { pulumi, changes } = pulumiWith([], undefined, cluster, outputs);
    await expect(run(pulumi)).rejects.toThrow(/No key would be left.*keys -- add NAME --stack prod/s);
    expect(changes).toEqual([]);
    const more = { ...cluster, apiKey: "a".repeat(40) };
    const two = pulumiWith([], undefined, more, outputs);
    expect(await run(two.pulumi)).toMatch(/in effect within a second/);
    expect(two.changes).toEqual(["config rm", "up --yes"]);
  });

  it("fails, and says that routers keep the keys, where the cluster can't be changed", async () => {
    const { pulumi } = pulumiWith([], { words: "up --yes", error: "no route" }, cluster, outputs);
    await expect(run(pulumi, makes.add)).rejects.toThrow(/^The routers were not updated.*no route/);
    const never = pulumiWith([], undefined, cluster);
    expect(await run(never.pulumi, makes.add)).toMatch(/No server of stack prod uses keys yet/);
  });
});
