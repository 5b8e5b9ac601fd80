import fc from "fast-check";
import { expect, it } from "vitest";
import { readServers, serversIn } from "../../../cli/servers";
import { deployHosts } from "../../../components/fleet";
import { connectionOf } from "../../../components/host/connection";
import { checkSettings } from "../../../components/settings/checks";
import { registered, stateOf } from "../../harness/pulumi-mocks";

/** What the state has after an `up` with these settings. */
async function stateWith(raw: Record<string, unknown>) {
  const made = await registered(() =>
    deployHosts("microsandbox", checkSettings({ privileged: false, ...raw }).hosts ?? {}),
  );
  return Object.entries(stateOf(made)).map(([urn, resource]) => ({ urn, ...resource }));
}

it("are those that the program has made, on each host, with the way there and whether they check keys", {
  timeout: 120_000,
}, async () => {
  const name = fc.constantFrom("default", "a", "a-b", "host", "server-container");
  const kind = fc.constantFrom("local", "ssh://root@a.test:2222", "ssh://u@[fd00::1]");
  const host = fc.record({ host: kind, devMode: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, host, { minKeys: 1, maxKeys: 3 }), async (hosts) => {
      const own = Object.entries(hosts).map(([each, settings], index) => {
        const more = { hostPort: 6000 + index, allowRemoval: true };
        return [each, { ...settings, ...more }];
      });
      const state = await stateWith({ generateApiKey: true, hosts: Object.fromEntries(own) });
      const expected = Object.entries(hosts).map(([each, settings]) => ({
        host: each,
        container: each === "default" ? "microsandbox-dev-server" : `microsandbox-${each}-dev-server`,
        connection: connectionOf(settings),
        checksKeys: !settings.devMode,
      }));
      const found = serversIn(state);
      expect(found).toHaveLength(expected.length);
      expect(found).toEqual(expect.arrayContaining(expected));
      if (hosts.default) expect(found[0]?.host).toBe("default");
    }),
    { numRuns: 6 },
  );
});

it("has an emulated host as the state knows it", async () => {
  const [server] = serversIn(await stateWith({ host: "emulated" }));
  expect(server).toMatchObject({ host: "default", connection: { kind: "ssh", port: 2222 } });
});

it("is none on a host whose server was never made", async () => {
  const state = await stateWith({});
  expect(serversIn(state.filter(({ type }) => type !== "docker:index/container:Container"))).toEqual([]);
});

it("are none of a stack that is in no backend; one that does not answer is an error", async () => {
  const failing = (words: string) => ({ read: () => Promise.reject(new Error(`error: ${words}`)) });
  expect(await readServers("dev", failing("no stack named 'dev' found"))).toEqual([]);
  await expect(readServers("dev", failing("503 Service Unavailable"))).rejects.toThrow(
    /^The servers of stack dev are not known, .*503 Service Unavailable\n/,
  );
});
