import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deploymentsOf } from "../../../../cli/deploy/drift";
import { recoverStack } from "../../../../cli/deploy/recover";
import type { Pulumi } from "../../../../cli/pulumi";
import type { SetupHost } from "../../../../cli/stack";
import { createReporter, silentReporter } from "../../../../setup/report";

const path = process.env.PATH;
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "microsandbox-unrecorded-"));
  // The engine of a host that has a server and its network, with the label of the deployment `id1`.
  const docker = `#!/bin/sh
echo "$*" >>"${folder}/calls"
case "$*" in
"ps "*=id1) echo server ;;
"network ls "*=id1) echo net ;;
"version "*) if [ -e "${folder}/version-fails" ]; then exit 1; fi ;;
esac
case "$1" in ps | rm) if [ -e "${folder}/$1-fails" ]; then cat "${folder}/$1-fails" >&2; exit 1; fi ;; esac
`;
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  writeFileSync(join(folder, "calls"), "");
  process.env.PATH = `${folder}:${path}`;
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

/** What the engine was asked to change. */
const changes = () =>
  readFileSync(join(folder, "calls"), "utf8")
    .split("\n")
    .filter((line) => /^(stop|rm|network rm|kill)/.test(line));

const urn = (name: string) => `urn:pulumi:dev::microsandbox::command:local:Command::${name}`;
const type = "command:local:Command";
const deployment = { urn: urn("microsandbox-deployment"), type, outputs: { stdout: "id1" } };
const recorded = (id: string) => ({ urn: urn(id), type: "docker:index/x:X", id });
const hosts = [{ name: "default", host: "local", baseName: "microsandbox-dev" } as SetupHost];

/** Pulumi with this state. @param refresh what a refresh does, which changes the state if it returns another one */
function pulumiWith(
  state: { resources: object[]; pending?: boolean },
  refresh: (args: string[]) => object[] = () => state.resources,
): Pulumi {
  let { resources } = state;
  let pending = state.pending ? [{ type: "creating", resource: { urn: urn("server") } }] : [];
  const read = async (args: string[]) => {
    const [command] = args;
    if (command === "stack")
      return JSON.stringify({ deployment: { resources, pending_operations: pending } });
    if (command === "refresh") {
      resources = refresh(args);
      pending = [];
    }
    return "";
  };
  return { read } as unknown as Pulumi;
}
const atWork = () => {
  throw new Error("the stack is currently locked by 1 lock(s)");
};

describe("a container that an interrupted run has not recorded", () => {
  const known = [deployment, recorded("net")];
  const recover = (resources: object[], refresh?: () => object[]) =>
    recoverStack("dev", hosts, pulumiWith({ resources, pending: true }, refresh), silentReporter);

  it("is stopped cleanly and removed, and what is in the state stays", async () => {
    await recover(known);
    expect(changes()).toEqual(["stop server", "rm server"]);
  });

  it("goes where it was to replace one that the state has under its name", async () => {
    await recover([...known, recorded("server-of-before")]);
    expect(changes()).toEqual(["stop server", "rm server"]);
  });

  it("goes before its network where that is not in the state either", async () => {
    await recover([deployment]);
    expect(changes()).toEqual(["stop server", "rm server", "network rm net"]);
  });

  it("stays where another run is at work, of which this machine sees nothing but the lock", async () => {
    await expect(recover(known, atWork)).rejects.toThrow("locked");
    expect(changes()).toEqual([]);
  });

  it("stays where another run has recorded it meanwhile", async () => {
    await recover(known, () => [...known, recorded("server")]);
    expect(changes()).toEqual([]);
  });

  it("that can't be removed ends the run, with what docker said; one that is gone meanwhile does not", async () => {
    const fails = (words: string) => writeFileSync(join(folder, "rm-fails"), words);
    fails("Error response from daemon: device or resource busy\n");
    await expect(recover(known)).rejects.toThrow(
      /server on the host default could not be removed: .*busy\nTo remove it, on the host: docker rm server/,
    );
    fails("Error response from daemon: No such container: server\n");
    await recover(known);
  });

  it("is not known of a host whose docker does not answer: that is said", async () => {
    writeFileSync(join(folder, "ps-fails"), "Cannot connect to the Docker daemon\n");
    const said: string[] = [];
    const report = createReporter({ write: (line) => said.push(line) });
    await recoverStack("dev", hosts, pulumiWith({ resources: known, pending: true }), report);
    expect(said).toContainEqual(expect.stringMatching(/on the host default is not known: Cannot connect/));
    expect(changes()).toEqual([]);
  });

  it("goes from the hosts that answer: what is on others is left out of the look at how far it got", async () => {
    writeFileSync(join(folder, "version-fails"), "");
    const component = (name: string) => ({ urn: urn(name), type: "microsandbox:index:Microsandbox" });
    const services = [component("microsandbox"), component("microsandbox-west")];
    const onWest = { ...recorded("west-net"), parent: urn("microsandbox-west") };
    const resources = [...known, ...services, onWest];
    const east = { ...hosts[0], name: "east", baseName: "microsandbox-dev-east" } as SetupHost;
    const west = { ...hosts[0], name: "west", baseName: "microsandbox-dev-west" } as SetupHost;
    const left: string[][] = [];
    const pulumi = pulumiWith({ resources, pending: true }, (args) => {
      left.push(args.flatMap((word, at) => (word === "--exclude" ? (args[at + 1] ?? []) : [])));
      return resources;
    });
    await recoverStack("dev", [east, west], pulumi, silentReporter);
    expect(left).toEqual([[urn("microsandbox-west"), urn("west-net")]]);
  });

  it("stays where no run was interrupted, and where it has the label of another deployment", async () => {
    await recoverStack("dev", hosts, pulumiWith({ resources: known }), silentReporter);
    await recover([{ ...deployment, outputs: { stdout: "id2" } }]);
    expect(changes()).toEqual([]);
  });
});

it("what is this state's is known by the ids in it alone", () => {
  expect(
    deploymentsOf([
      deployment,
      { urn: urn("microsandbox-b-deployment"), type, outputs: { stdout: "id2" } },
      { urn: urn("microsandbox-key-file"), type, outputs: { stdout: "no" } },
    ]),
  ).toEqual(["id1", "id2"]);
  expect(deploymentsOf([])).toEqual([]);
});
