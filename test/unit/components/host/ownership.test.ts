import { spawnSync } from "node:child_process";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { type Recorded, recordedOf, type StateResources } from "../../../../components/host/deployment";
import { cutOffReplacement, leftovers, removeLeftovers } from "../../../../components/host/leftovers";
import { foreignObject } from "../../../../components/host/ownership";
import type { HostObject } from "../../../../components/host/preflight-report";
import { Microsandbox } from "../../../../components/microsandbox";
import { failing, healthyHost, type Registered, registered, stateOf } from "../../../harness/pulumi-mocks";

const names = { container: "msb-dev-server", network: "msb-dev", volume: "msb-dev-state" };
type Owned = Pick<Recorded, "deployment" | "has">;
const nothing: Owned = { deployment: undefined, has: () => false };
const all: Owned = { deployment: "id1", has: () => true };
/** The state of an earlier version, which knew no ids. */
const old: Owned = { deployment: undefined, has: () => true };
/** A first `up` that was cut off when the id was made and nothing more. */
const cutOff: Owned = { deployment: "id1", has: () => false };

const found = (kind: HostObject["kind"], change: Partial<HostObject> = {}): HostObject => ({
  ...{ kind, name: names[kind], project: "microsandbox", stack: "dev", deployment: "id1", usedBy: [] },
  ...change,
});
const noLabels = { project: "", stack: "", deployment: "" };
const judge = (object: HostObject, recorded: Owned) =>
  foreignObject([object], {
    ...{ ...recorded, project: "microsandbox", stack: "dev", containerName: names.container },
    settingOf: () => "volumes.state",
  });

describe("a container or a network", () => {
  const kinds = ["container", "network"] as const;
  const cases: [string, Partial<HostObject>, Owned, RegExp | undefined][] = [
    ["of this deployment", {}, all, undefined],
    ["of an earlier version that is in this state", { deployment: "" }, old, undefined],
    ["of an earlier version that is in this state, later on", { deployment: "" }, all, undefined],
    [
      "of an earlier version that is in no state here",
      { deployment: "" },
      nothing,
      /another deployment of the stack dev/,
    ],
    ["of an earlier version, of another checkout", { deployment: "" }, cutOff, /another deployment/],
    ["of another checkout", { deployment: "id2" }, all, /another deployment of the stack dev[\s\S]*docker/],
    ["of another checkout, before the first up", { deployment: "id2" }, nothing, /another deployment/],
    ["of a run that was cut off, which is removed", {}, cutOff, undefined],
    ["of another stack", { stack: "prod" }, all, /belongs to the stack prod of microsandbox/],
    ["of another project", { project: "other" }, all, /belongs to the stack dev of other/],
    [
      "of nobody that is known",
      noLabels,
      all,
      /not made by this stack[\s\S]*The host was not changed[\s\S]*docker/,
    ],
  ];
  it.each(kinds.flatMap((kind) => cases.map((each) => [kind, ...each] as const)))(
    "%s %s",
    (kind, _name, change, recorded, message) => {
      const reason = judge(found(kind, change), recorded);
      if (message === undefined) expect(reason).toBeUndefined();
      else expect(reason).toMatch(message);
    },
  );
});

describe("a volume", () => {
  it.each<[string, Partial<HostObject>, Owned, RegExp | undefined]>([
    ["of this deployment", { usedBy: [names.container] }, all, undefined],
    ["of this deployment, which somebody else mounts too", { usedBy: ["backup"] }, all, undefined],
    ["that a destroy has kept", { deployment: "id0" }, nothing, undefined],
    ["that a destroy of an earlier version has kept", { deployment: "" }, nothing, undefined],
    ["of an upgrade that is under way", { usedBy: [`${names.container}-trial`] }, nothing, undefined],
    [
      "in use by another server",
      { deployment: "id2", usedBy: ["x-server"] },
      nothing,
      /in use by: x-server[\s\S]*volumes\.state/,
    ],
    ["of another stack", { stack: "prod" }, all, /belongs to the stack prod/],
    [
      "of nobody that is known",
      noLabels,
      nothing,
      /not made by this stack[\s\S]*pulumi config set .*volumes\.state msb-dev-state-2/,
    ],
    ["without labels, that an earlier version has taken", noLabels, old, undefined],
  ])("%s", (_name, change, recorded, message) => {
    const reason = judge(found("volume", change), recorded);
    if (message === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(message);
  });
});

describe("what a run that was cut off has left", () => {
  const isLeft = (change: Partial<HostObject>, recorded: Owned) =>
    (["container", "network", "volume"] as const).filter(
      (kind) => leftovers([found(kind, change)], recorded).length > 0,
    );

  it("is a container or a network with the id of this state, and not in it", () => {
    expect(isLeft({}, cutOff)).toEqual(["container", "network"]);
    expect(isLeft({}, all)).toEqual([]);
    for (const recorded of [cutOff, nothing, old])
      for (const deployment of ["", "id2"]) expect(isLeft({ deployment }, recorded)).toEqual([]);
  });

  it("is in the way where it was to replace one that the state has by its name", () => {
    const refused = (id: string | undefined, recorded: string | undefined, deployment = "id1") => {
      const owner = { deployment: "id1", containerId: () => recorded };
      return cutOffReplacement([found("container", { id, deployment }), found("volume")], owner, "dev");
    };
    expect(refused("new", "old")).toMatch(
      /msb-dev-server is not the one of this stack's state[\s\S]*docker stop msb-dev-server && docker rm msb-dev-server\n.*: pulumi refresh --stack dev && pulumi up$/,
    );
    for (const [id, recorded, deployment] of [
      ["old", "old"],
      ["new", undefined],
      [undefined, "old"],
      ["new", "old", "id2"],
    ])
      expect(refused(id, recorded, deployment)).toBeUndefined();
  });

  const objects = [found("network"), found("container", { name: "it's" })];
  const local = { kind: "local" } as const;
  const removed = async (preview: boolean, stdout = "") => {
    const inputs: { command: string; stdin: string }[] = [];
    const mocks = {
      newResource: () => ({ id: "id", state: {} }),
      call: (call: { inputs: { command: string; stdin: string } }) => {
        inputs.push(call.inputs);
        return { stdout };
      },
    };
    await pulumi.runtime.setMocks(mocks, "microsandbox", "dev", preview);
    await removeLeftovers(local, objects, new pulumi.ComponentResource("a:b:C", "host"));
    return inputs;
  };

  it("goes in an up, the container before its network, and in no preview", async () => {
    expect(await removed(true)).toEqual([]);
    const [{ command, stdin } = { command: "", stdin: "" }, ...more] = await removed(false);
    expect([command, more]).toEqual(["sh -s", []]);
    const docker = 'docker() { echo "$*" >&2; }\n';
    const { stderr, stdout } = spawnSync("sh", ["-s"], {
      input: docker + stdin.replaceAll(">/dev/null 2>&1", ""),
      encoding: "utf8",
    });
    expect(stderr).toBe("stop it's\nrm it's\nnetwork rm msb-dev\n");
    expect(stdout).toBe("");
  });

  it("is named with the line that removes it, where that fails", async () => {
    const line = "docker network rm msb-dev";
    await expect(removed(false, `${line}\n`)).rejects.toThrow(`to remove it, on the host: ${line}`);
  });
});

describe("a deployment", () => {
  const urn = (type: string, name: string) => `urn:pulumi:dev::microsandbox::a$b$${type}::${name}`;
  const command = "command:local:Command";
  const volume = "docker:index/volume:Volume";
  const state: StateResources = {
    [urn(command, "sandboxes-deployment")]: { type: command, outputs: { stdout: "id1" } },
    [urn(volume, "sandboxes-storage-state")]: { type: volume, outputs: { name: "sandboxes-dev-state" } },
    [urn(volume, "others-storage-state")]: { type: volume, outputs: { name: "others-dev-state" } },
  };

  it("is told from others of the same program by its name", () => {
    expect(recordedOf("sandboxes", state).deployment).toBe("id1");
    expect(recordedOf("others", state).deployment).toBeUndefined();
    expect(recordedOf("sandboxes", state).has("volume", "sandboxes-dev-state")).toBe(true);
    expect(recordedOf("sandboxes", state).has("volume", "others-dev-state")).toBe(false);
    expect(recordedOf("sandboxes", state).has("container", "sandboxes-dev-state")).toBe(false);
  });

  const service = () => new Microsandbox("sandboxes", {});
  const on = (objects: HostObject[], known?: StateResources) => ({
    ...{ ...healthyHost, preflight: { ...healthyHost.preflight, objects } },
    state: known,
  });
  const deploy = (objects: HostObject[], known?: StateResources) => registered(service, on(objects, known));
  const labelsOf = (resources: Registered[]) =>
    resources.flatMap(({ type, inputs }) =>
      type.startsWith("docker:") && inputs.labels ? [inputs.labels] : [],
    );

  it("marks all that it makes on the host", async () => {
    const labels = labelsOf(await deploy([]));
    const mark = { label: "io.microsandbox.deployment", value: "sandboxes-deployment output" };
    expect(labels).toHaveLength(4);
    for (const each of labels) expect(each).toContainEqual(mark);
  });

  it.each<[string, Partial<HostObject>, StateResources | undefined]>([
    ["nobody's", noLabels, undefined],
    ["another checkout's", { deployment: "id2" }, state],
  ])("makes nothing on a host where a name is %s, and says so", async (_name, change, known) => {
    const object = { ...found("container", change), name: "sandboxes-dev-server" };
    const { resources, errors } = await failing(service, on([object], known));
    expect(resources.filter(({ type }) => /^docker:index/.test(type))).toEqual([]);
    expect(errors.join()).toMatch(/container sandboxes-dev-server[\s\S]*The host was not changed/);
  });

  const old = "urn:pulumi:dev::microsandbox::microsandbox:index:Microsandbox::sandboxes";
  it.each<[string, pulumi.ComponentResourceOptions["aliases"]]>([
    ["by name", [{ name: "sandboxes" }]],
    ["by URN", [pulumi.output(old)]],
  ])("knows its own under the name that it had before: %s", async (_how, aliases) => {
    const baseName = "sandboxes-dev";
    const before = await registered(() => new Microsandbox("sandboxes", {}, { baseName }));
    const renamed = (more: object) => () => new Microsandbox("boxes", {}, { baseName, ...more });
    const object = {
      ...{ ...found("container"), name: "sandboxes-dev-server" },
      deployment: "sandboxes-deployment output",
    };
    expect((await failing(renamed({ aliases }), on([object], stateOf(before)))).errors).toEqual([]);
    const { errors } = await failing(renamed({}), on([object], stateOf(before)));
    expect(errors.join()).toMatch(/made by another deployment of the stack/);
  });

  it("takes over the volumes that an earlier one has left", async () => {
    const kept = { ...found("volume"), name: "sandboxes-dev-state", deployment: "id0" };
    expect(labelsOf(await deploy([kept]))).toHaveLength(4);
  });
});
