import { expect, it } from "vitest";
import { named, refuseProtected, refuseUnfinished } from "../../../../cli/commands/destroy";
import { explainKept } from "../../../../cli/deploy/kept";
import type { SetupHost } from "../../../../cli/stack";

const volume = { urn: "urn:v", type: "docker:index/volume:Volume", outputs: { name: "sandboxes-state" } };

it("refuses to destroy a stack with protected volumes, and says how to allow it", () => {
  expect(() => refuseProtected("prod", [{ ...volume, protect: true }])).toThrow(
    /sandboxes-state must be kept\. Nothing was removed\.\n.*volumes\.protect false --stack prod/,
  );
});

it("lets go of a stack without them", () => {
  expect(() => refuseProtected("prod", [volume, { ...volume, protect: false }])).not.toThrow();
});

/** A deployed host: its component and its volume. */
function deployed(name: string, component: string, retainOnDelete: boolean) {
  const parent = `urn:pulumi:s::p::microsandbox:index:Microsandbox::${component}`;
  return [
    { urn: parent, type: "microsandbox:index:Microsandbox" },
    { ...volume, urn: `${parent}$volume`, parent, retainOnDelete, outputs: { name } },
  ];
}
const hostCalled = (name: string, host: string) => ({ name, host, baseName: `base-${name}` }) as SetupHost;

it("says how to remove the data that it keeps, on each kind of host", () => {
  const local = hostCalled("default", "local");
  expect(explainKept([local], deployed("v1", "microsandbox", true))).toEqual([
    expect.stringMatching(/^The data is kept .*\n {2}to remove it: docker volume rm v1$/),
  ]);
  expect(explainKept([local], deployed("v1", "microsandbox", false))).toEqual([]);
  expect(
    explainKept(
      [hostCalled("a", "ssh://root@a.test"), hostCalled("b", "emulated")],
      [...deployed("v1", "microsandbox-a", true), ...deployed("v2", "microsandbox-b", true)],
    ),
  ).toEqual([
    expect.stringMatching(/^Host a: .*\n.*: docker --host ssh:\/\/root@a\.test volume rm v1$/),
    expect.stringMatching(/^Host b: .*\n.*: bash emulated-host\/emulated-host\.sh delete base-b$/),
  ]);
});

it("names what it takes away, and what of it stays", () => {
  const of = (kind: string, name: string, retainOnDelete?: boolean) => ({
    ...{ urn: `urn:${name}`, type: `docker:index/${kind}`, outputs: { name } },
    ...(retainOnDelete === undefined ? {} : { retainOnDelete }),
  });
  expect(
    named([
      of("container:Container", "a-server"),
      of("network:Network", "a"),
      of("volume:Volume", "kept", true),
      of("volume:Volume", "gone", false),
      of("volume:Volume", "gone2"),
    ]),
  ).toBe("container a-server; network a; volumes gone, gone2 with ALL ITS DATA; volume kept (kept)");
  expect(named([])).toBe("nothing on a host");
});

it("says what an interrupted destroy has left and how to go on, and offers no line that removes data", () => {
  const stack = { urn: "urn:s", type: "pulumi:pulumi:Stack" };
  const network = { urn: "urn:n", type: "docker:index/network:Network", outputs: { name: "sandboxes" } };
  const machine = { urn: "urn:m::x-emulated-machine", type: "command:local:Command" };
  const message = (() => {
    try {
      refuseUnfinished("nc5", [stack, network, machine, { ...volume, retainOnDelete: true }]);
    } catch (error) {
      return String(error);
    }
    return "";
  })();
  expect(message).toMatch(
    /interrupted: 3 of its resources are left \(network sandboxes; volume sandboxes-state/,
  );
  expect(message).toContain("the emulated host");
  expect(message).toMatch(/To go on: npm run destroy -- --stack nc5\n/);
  expect(message).not.toMatch(/\brm\b|emulated-host\.sh|delete/);
  expect(() => refuseUnfinished("nc5", [stack])).not.toThrow();
  expect(() => refuseUnfinished("nc5", [])).not.toThrow();
});
