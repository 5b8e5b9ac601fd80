import { describe, expect, it } from "vitest";
import { finishAllScript } from "../../../../cli/backup/volume-scripts";
import {
  compare,
  type HostObject,
  parseObjects,
  type StateResource,
  sentence,
} from "../../../../cli/deploy/drift";

const urn = (type: string, name: string) => `urn:pulumi:dev::microsandbox::${type}::${name}`;
const service = urn("microsandbox:index:Microsandbox", "microsandbox");

const resources: StateResource[] = [
  { urn: service, type: "microsandbox:index:Microsandbox" },
  {
    ...{ urn: urn("docker:index/container:Container", "c"), type: "docker:index/container:Container" },
    ...{ id: "c1", parent: service, outputs: { name: "microsandbox-dev-server", image: "sha256:i" } },
  },
  {
    ...{ urn: urn("docker:index/network:Network", "n"), type: "docker:index/network:Network" },
    ...{ id: "n1", parent: service, outputs: { name: "microsandbox-dev" } },
  },
  ...["state", "workspace"].map((role) => ({
    ...{ urn: urn("docker:index/volume:Volume", role), type: "docker:index/volume:Volume" },
    ...{ id: role, parent: service, outputs: { name: `microsandbox-dev-${role}` } },
  })),
  {
    ...{ urn: urn("command:local:Command", "microsandbox-image-load"), type: "command:local:Command" },
    parent: service,
  },
];

const object = (kind: HostObject["kind"], id: string, name: string, change: Partial<HostObject> = {}) => ({
  ...{ kind, id, name, state: kind === "container" ? "running" : "", stack: "dev" },
  ...change,
});
const server = (change: Partial<HostObject> = {}) =>
  object("container", "c1", "microsandbox-dev-server", change);
const rest = {
  network: object("network", "n1", "microsandbox-dev"),
  state: object("volume", "microsandbox-dev-state", "microsandbox-dev-state"),
  workspace: object("volume", "microsandbox-dev-workspace", "microsandbox-dev-workspace"),
  image: object("image", "sha256:i", "", { stack: "" }),
};
const all = [server(), ...Object.values(rest)];
const without = (gone: HostObject) => all.filter((each) => each !== gone);
const local = { name: "default", host: "local", baseName: "microsandbox-dev" };
const remote = { ...local, host: "ssh://root@host.test" };

describe("what was changed behind Pulumi's back", () => {
  it("is nothing where all is there", () => {
    const nothing = { changes: [], docker: [] };
    expect(compare(local, all, resources)).toEqual(nothing);
    expect(compare(remote, all, resources)).toEqual(nothing);
    expect(compare(local, [], [])).toEqual(nothing);
  });

  it.each([
    ["paused", ["unpause", "c1"]],
    ["exited", ["start", "c1"]],
    ["created", ["start", "c1"]],
    ["restarting", ["start", "c1"]],
  ])("wakes a server that is %s", (state, command) => {
    const found = compare(local, [server({ state }), ...Object.values(rest)], resources);
    expect(found).toMatchObject({ await: "c1", docker: [command] });
    expect(found.stop).toBe(state === "restarting" ? "c1" : undefined);
    // A restore, or the test of an upgrade, that the host's end has cut off ends first.
    const ends = ["run", "--volumes-from", "c1:rw", "sha256:i", finishAllScript()];
    if (state === "paused") expect(found.finish).toBe(undefined);
    else expect(found.finish).toEqual(expect.arrayContaining(ends));
    expect(found.changes).toEqual([
      expect.objectContaining({ what: expect.any(String), fate: expect.any(String) }),
    ]);
  });

  it.each(["at-work", "swap", "trial"])("is not looked for while somebody works on the server: %s", (end) => {
    const worker = object("container", "w", `microsandbox-dev-server-${end}`, { stack: "" });
    for (const state of ["exited", "running"]) {
      const found = compare(local, [server({ state }), worker, ...Object.values(rest)], resources);
      expect(found).toMatchObject({ isBusy: true, docker: [] });
      expect([found.stop, found.finish, found.await]).toEqual([undefined, undefined, undefined]);
      expect(found.changes.map(sentence)).toEqual([
        expect.stringMatching(
          `is at work on the server microsandbox-dev-server.*docker rm --force ${worker.name}`,
        ),
      ]);
    }
    // One that has ended is over.
    const ended = { ...worker, state: "exited" };
    expect(
      compare(local, [server({ state: "exited" }), ended, ...Object.values(rest)], resources).docker,
    ).toEqual([["start", "c1"]]);
  });

  describe("an upgrade that was interrupted before the container was replaced", () => {
    const claim = object("container", "t", "microsandbox-dev-server-trial", {
      state: "created",
      image: "sha256:n",
    });
    const trialOf = (image: string) => ({
      ...{ urn: urn("command:local:Command", "microsandbox-upgrade-trial"), type: "command:local:Command" },
      ...{ parent: service, outputs: { triggers: [image] } },
    });
    const left = (state: string, image = "sha256:n", trial = "sha256:n") =>
      compare(
        local,
        [server({ state }), { ...claim, image }, ...Object.values(rest)],
        [...resources, trialOf(trial)],
      );

    it("is left to the run, which knows whether to go on or back: the state is not the server's", () => {
      const found = left("exited");
      expect(found).toEqual({ changes: [expect.objectContaining({ fate: expect.any(String) })], docker: [] });
      expect(found.changes.map(sentence)).toEqual([
        expect.stringMatching(/interrupted after its test.*goes on, or back/),
      ]);
    });

    it("is waited for where Pulumi's state does not have the test: the run would not go back", () => {
      const found = left("exited", "sha256:n", "sha256:i");
      expect(found).toMatchObject({ isBusy: true, docker: [] });
      expect(found.changes.map(sentence)).toEqual([
        expect.stringMatching(/the host starts the previous server.*docker rm microsandbox-dev-server-trial/),
      ]);
    });

    it("is over where the server runs, or has that image", () => {
      expect(left("running").changes).toEqual([]);
      expect(left("exited", "sha256:i", "sha256:i").docker).toEqual([["start", "c1"]]);
    });
  });

  it("ends a restore that was cut off before a container that was removed comes again", () => {
    const volumes = ["state:/var/lib/microsandbox", "workspace:/workspace"].map(
      (each) => `--volume=microsandbox-dev-${each}`,
    );
    expect(compare(local, Object.values(rest), resources)).toMatchObject({
      finish: expect.arrayContaining(["run", ...volumes, "sha256:i"]),
      docker: [],
    });
    // Docker would make a volume that is not there.
    for (const gone of [rest.state, rest.workspace]) {
      const left = Object.values(rest).filter((each) => each !== gone);
      expect(compare(local, left, resources).finish).toBe(undefined);
    }
  });

  it.each(["starting", "unhealthy"])("waits for a server that is %s, and starts nothing", (state) => {
    const found = compare(local, [server({ state }), ...Object.values(rest)], resources);
    expect(found).toMatchObject({ docker: [], await: "c1" });
    expect([found.stop, found.finish]).toEqual([undefined, undefined]);
    expect(found.changes.map(sentence)).toEqual([expect.stringContaining("dev-server")]);
  });

  it.each<[string, readonly HostObject[], RegExp]>([
    ["container", Object.values(rest), /container microsandbox-dev-server was removed: it is created again/],
    ["network", without(rest.network), /network microsandbox-dev was removed: it is created again/],
    [
      "state volume",
      without(rest.state),
      /microsandbox-dev-state was removed.*sandboxes.*an empty one.*npm run restore/,
    ],
    [
      "workspace volume",
      without(rest.workspace),
      /microsandbox-dev-workspace was removed.*\/workspace.*empty/,
    ],
  ])("says that the %s is gone and what becomes of it", (_what, objects, message) => {
    const { changes } = compare(local, objects, resources);
    expect(changes.map(sentence)).toEqual([expect.stringMatching(message)]);
  });

  it("says that an image is gone that was sent or pulled; of one that was built there Pulumi sees it", () => {
    const said = [expect.stringMatching(/image was removed from the host: it is built or sent again/)];
    for (const host of [remote, local])
      expect(compare(host, without(rest.image), resources).changes.map(sentence)).toEqual(said);
    const built = resources.filter((each) => !each.urn.endsWith("-image-load"));
    expect(compare(local, without(rest.image), built).changes).toEqual([]);
  });

  it("is a container of this deployment in the place of the one that the state has", () => {
    const made = {
      urn: urn("command:local:Command", "microsandbox-deployment"),
      type: "command:local:Command",
    };
    const known = [...resources, { ...made, parent: service, outputs: { stdout: "d1" } }];
    const found = compare(local, [server({ id: "x", deployment: "d1" }), ...Object.values(rest)], known);
    expect(found).toMatchObject({ stop: "x", docker: [["rm", "x"]] });
    expect(found.changes.map(sentence)).toEqual([expect.stringMatching(/is not the one .*created again/)]);
    const another = [server({ id: "x", deployment: "d2" }), ...Object.values(rest)];
    expect(compare(local, another, known)).toEqual({ changes: [], docker: [] });
  });

  it.each<[string, readonly HostObject[], readonly StateResource[]]>([
    ["a server that the state does not have", [server({ state: "paused" }), ...Object.values(rest)], []],
    ["another container by the name", [server({ id: "x", stack: "", state: "exited" })], resources],
  ])("leaves alone what is not this stack's: %s", (_what, objects, known) => {
    expect(compare(local, objects, known)).toEqual({ changes: [], docker: [] });
  });
});

it("reads what docker lists; the labels of other projects are nobody's", () => {
  const text = [
    "container\tc1\tmicrosandbox-dev-server\trunning\tmicrosandbox\tdev\tUp 2 hours (healthy)\td1\tsha256:i",
    "container\tc2\tnew\trunning\t\t\tUp 3 seconds (health: starting)\t\tdebian",
    "container\tc3\till\trunning\t\t\tUp 2 hours (unhealthy)",
    "container\tc4\tpaused\tpaused\t\t\tUp 2 hours (unhealthy) (Paused)",
    "volume\tv\tv\t\tother\tdev",
    "image\tsha256:i",
    "WARNING: something",
  ].join("\n");
  expect(parseObjects(text)).toEqual([
    { ...server(), deployment: "d1", image: "sha256:i" },
    object("container", "c2", "new", { state: "starting", stack: "", image: "debian" }),
    object("container", "c3", "ill", { state: "unhealthy", stack: "" }),
    object("container", "c4", "paused", { state: "paused", stack: "" }),
    object("volume", "v", "v", { stack: "" }),
    object("image", "sha256:i", "", { stack: "" }),
  ]);
});
