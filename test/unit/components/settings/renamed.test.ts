import { expect, it } from "vitest";
import { checkSettings, readableHosts } from "../../../../components/settings/checks";

const key = { devMode: false, apiKey: "k".repeat(40) };

it.each<[Record<string, unknown>, Record<string, unknown>]>([
  [{ makeApiKey: "false" }, { generateApiKey: "false" }],
  [
    { ...key, ownSandboxes: true },
    { ...key, isolateByKey: true },
  ],
  [{ build: "here" }, { builder: "local" }],
  [{ build: "host" }, { builder: "host" }],
  [{ tls: '{"own":true,"names":["a.test"]}' }, { tls: { generate: true, names: ["a.test"] } }],
  [
    { hosts: '{"a":{"build":"here","fresh":"true"}}' },
    { hosts: { a: { builder: "local", allowRemoval: true } } },
  ],
  [
    { ...key, ownSandboxes: true, hosts: { default: { isolateByKey: false } } },
    { ...key, isolateByKey: true, hosts: { default: { isolateByKey: false } } },
  ],
])("a setting is known by the name that it had before: %j", (old, now) => {
  const { hosts, errors } = checkSettings(now);
  expect(errors).toEqual([]);
  expect(checkSettings(old)).toMatchObject({ errors: [], hosts });
  expect(readableHosts(old)).toEqual(readableHosts(now));
});

it("an old name beside the new one is not a setting, and a secret stays one", () => {
  const both = checkSettings({ ...key, ownSandboxes: true, isolateByKey: false }).errors;
  expect(both).toMatchObject([{ key: "ownSandboxes", problem: "is not a setting" }]);
  const [secret] = checkSettings({ makeApiKey: "hunter2" }, ["makeApiKey"]).errors ?? [];
  expect(secret).toMatchObject({ key: "generateApiKey" });
  expect(JSON.stringify(secret)).not.toContain("hunter2");
});
