import { join } from "node:path";
import { expect, it } from "vitest";
import { imageNames, isBuildDue, needsEngineHere } from "../../../../cli/deploy/build-due";
import { contextHash } from "../../../../components/image/context-hash";
import { Microsandbox } from "../../../../components/microsandbox";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { registered } from "../../../harness/pulumi-mocks";

const serverImage = `registry.test/server@sha256:${"0".repeat(64)}`;
const hostOf = (settings: Record<string, unknown>) => ({
  ...parseSettings(settings),
  baseName: "microsandbox-dev",
});
const ssh = { host: "ssh://me@host.test" };

it.each([
  [{}, true],
  [{ serverImage }, true],
  [ssh, true],
  [{ host: "emulated" }, true],
  [{ ...ssh, builder: "host" }, false],
  [{ ...ssh, serverImage }, false],
  [{ ...ssh, serverImage, builder: "local" }, true],
  [{ host: "emulated", serverImage }, false],
])("knows whether an engine is needed here: %o", (settings, expected) => {
  expect(needsEngineHere(hostOf(settings))).toBe(expected);
});

it.each([
  {},
  { version: "0.6.18" },
  { version: "0.7.9", versionSha256: { amd64: "a".repeat(64) } },
  { debianVersion: "13.1", registryPrefix: "mirror.test/" },
])("looks for the image by the name that the program gives it: %o", async (settings) => {
  const resources = await registered(() => new Microsandbox("microsandbox", settings));
  const name = resources.find(({ type }) => type.endsWith(":RemoteImage"))?.inputs.name;
  expect(imageNames(hostOf(settings), contextHash(join(__dirname, "../../../../docker")))).toContain(name);
});

it("builds where the engine has the image for neither processor, and only then", async () => {
  const asked: string[] = [];
  const engine = (has: RegExp) => async (image: string) => {
    asked.push(image);
    return has.test(image);
  };
  expect(await isBuildDue(hostOf({}), engine(/^$/))).toBe(true);
  expect(asked).toHaveLength(2);
  expect(await isBuildDue(hostOf({}), engine(/-amd64-/))).toBe(false);
  expect(await isBuildDue(hostOf(ssh), engine(/-arm64-/))).toBe(false);
  asked.length = 0;
  expect(await isBuildDue(hostOf({ serverImage }), engine(/^$/))).toBe(false);
  expect(await isBuildDue(hostOf({ ...ssh, builder: "host" }), engine(/^$/))).toBe(false);
  expect(asked).toEqual([]);
});
