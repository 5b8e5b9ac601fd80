import { describe, expect, it } from "vitest";
import { consequences, type StepEvent } from "../../../../cli/deploy/consequences";

type Metadata = NonNullable<StepEvent["resourcePreEvent"]>["metadata"];

const step = (type: string, op: string, change: Partial<Metadata> = {}): StepEvent => ({
  resourcePreEvent: { metadata: { op, urn: `urn:pulumi:dev::microsandbox::${type}::it`, type, ...change } },
});
const container = (op: string, paths: string[] = []) => {
  const detailedDiff = Object.fromEntries(paths.map((path) => [path, {}]));
  return step("docker:index/container:Container", op, { detailedDiff, old: { inputs: { name: "server" } } });
};
const volume = (op: string, keep: boolean, next = "data") =>
  step("docker:index/volume:Volume", op, {
    old: { inputs: { name: "data" }, retainOnDelete: keep },
    new: { inputs: { name: next } },
  });
const command = (op: string, name: string, remove = "", paths: string[] = []) => {
  const detailedDiff = Object.fromEntries(paths.map((path) => [path, {}]));
  return step("command:local:Command", op, {
    ...{ urn: `urn::${name}`, detailedDiff, old: { inputs: { delete: remove } } },
  });
};
/** An update of the machine of an emulated host. */
const machine = (...paths: string[]) => command("update", "microsandbox-host-emulated-machine", "", paths);

const servers = (op: string) =>
  step("kubernetes:apps/v1:StatefulSet", op, { old: { inputs: { metadata: { namespace: "sandboxes" } } } });
const space = (op: string, keep: boolean, name = "microsandbox-namespace") =>
  step("kubernetes:core/v1:Namespace", op, {
    urn: `urn::${name}`,
    old: { inputs: { metadata: { name: "sandboxes" } }, retainOnDelete: keep },
  });

describe("the consequences of a run, in words", () => {
  it.each<[string, StepEvent[], (RegExp | string)[]]>([
    ["nothing", [{}, container("same"), volume("same", true), container("refresh")], []],
    ["a first deployment", [container("create"), volume("create", true)], []],
    [
      "another container",
      [
        container("delete-replaced"),
        container("replace", ["image", "envs[0]", "envs[1]"]),
        container("create-replacement"),
      ],
      [/server is REPLACED \(changed: image, envs\): running sandboxes .* stopped cleanly and start again/],
    ],
    ["a container changed in place", [container("update", ["memory"])], [/sandboxes keep running/]],
    [
      "no container any more",
      [container("delete")],
      [/server is REMOVED: running sandboxes .* stopped cleanly/],
    ],
    ["a volume that stays", [volume("delete", true)], [/data STAYS on the host with all its data/]],
    ["a volume that goes", [volume("delete", false)], [/data is REMOVED with all its data/]],
    ["another volume", [volume("replace", true, "other")], [/data STAYS .*: the server uses other instead/]],
    [
      "a volume made anew",
      [volume("replace", false)],
      [/data is REMOVED.*: a new, empty one takes its place/],
    ],
    ["an upgrade", [command("replace", "microsandbox-upgrade-trial")], [/image changes.*state is copied/]],
    ["a setting in the trial's script", [command("update", "microsandbox-upgrade-trial")], []],
    ["a host started again", [machine("environment.MEMORY_MIB", "delete")], [/RESTARTED/]],
    ["a host of which nothing more is known", [machine()], [/RESTARTED/]],
    ["what a destroy keeps of a host", [machine("delete")], []],
    [
      "a host that goes, and its disk",
      [command("delete", "microsandbox-host-emulated-machine", "tool delete host")],
      [/REMOVED with its disk/],
    ],
    [
      "a host that goes without its disk",
      [command("delete", "microsandbox-host-emulated-machine", "tool delete host --keep-disk")],
      [/its disk, with the volumes, STAYS/],
    ],
    ["servers of a cluster that go", [servers("delete")], [/servers of the namespace sandboxes are REMOVED/]],
    ["servers that are made anew", [servers("replace"), servers("update")], [/are REPLACED, all at once/]],
    ["a namespace that stays", [space("delete", true)], [/sandboxes STAYS with the servers' volumes/]],
    ["a namespace that goes", [space("replace", false)], [/sandboxes is REMOVED, and the servers' volumes/]],
    ["the device plugin's namespace", [space("delete", false, "microsandbox-devices-namespace")], []],
    ["each once", [container("update"), container("update")], [/sandboxes keep running/]],
  ])("%s", (_name, events, expected) => {
    const sentences = consequences(events);
    expect(sentences).toEqual(expected.map((each) => expect.stringMatching(each)));
  });
});
