import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { withVariables } from "../../../../components/host/connection";
import { script } from "../../../../components/host/scripts";
import { Microsandbox } from "../../../../components/microsandbox";
import { healthyHost, registered } from "../../../harness/pulumi-mocks";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-owner-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the script on a host whose engine has this container, or none, and returns what the engine was asked for. */
function callsOf(container: { running: boolean; user: string } | undefined): string[] {
  const calls = join(folder, "calls");
  rmSync(calls, { force: true });
  const inspected = container ? `echo "${container.running} ${container.user}"` : "exit 1";
  const docker = `#!/bin/sh\necho "$*" >>"${calls}"\ncase "$1 $2" in *inspect*) ${inspected} ;; esac\n`;
  writeFileSync(join(folder, "docker"), docker, { mode: 0o755 });
  const variables = {
    IMAGE: "sha256:new",
    STATE: "state",
    WORKSPACE: "workspace",
    OWNER: 5555,
    SERVER: "server",
  };
  const { status, stderr } = spawnSync("sh", ["-s"], {
    input: withVariables(variables, script("server/volume-owner")),
    env: { ...process.env, PATH: `${folder}:${process.env.PATH}` },
    encoding: "utf8",
  });
  expect(status, stderr).toBe(0);
  return existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : [];
}

describe("the volumes' owner", () => {
  it.each([
    ["a server of the same user", { running: true, user: "5555:5555" }, false],
    ["one of a user whose number begins in the same way", { running: true, user: "55555:55555" }, true],
    ["a privileged server", { running: true, user: "" }, true],
    ["a server that does not run", { running: false, user: "" }, false],
    ["no server", undefined, false],
  ])("%s: stopped %#", (_what, container, stopped) => {
    const calls = callsOf(container);
    expect(calls.includes("stop server")).toBe(stopped);
    expect(calls.at(-1)).toMatch(
      /find \/state \/workspace -path \/state\/copies\/\* -prune -o ! -user 5555 /,
    );
  });

  const host = "ssh://root@host.test";
  const owner = async (args: object, imageId?: string) => {
    const resources = await registered(
      () => new Microsandbox("sandboxes", { host, privileged: false, ...args }),
      { ...healthyHost, imageId },
    );
    return resources.find(({ name }) => name.endsWith("-volumes-files"))?.inputs ?? {};
  };

  it("is set again for another image or volume, and by no update: the container may stay", async () => {
    const before = await owner({});
    expect(before.update).toBe(":");
    const otherKey = await owner({ sshKeyFile: "/keys/other" });
    expect(otherKey.create).not.toBe(before.create);
    expect(otherKey.triggers).toEqual(before.triggers);
    expect((await owner({ volumes: { state: "other" } })).triggers).not.toEqual(before.triggers);
    const local = await owner({ host: "local" });
    expect((await owner({ host: "local" }, "sha256:two")).triggers).not.toEqual(local.triggers);
  });
});
