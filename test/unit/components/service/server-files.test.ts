import * as command from "@pulumi/command";
import { expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { Microsandbox } from "../../../../components/microsandbox";
import { registered } from "../../../harness/pulumi-mocks";

/** What a resource waits for that uses the endpoint, by name. */
async function waitsFor(args: MicrosandboxArgs): Promise<string[]> {
  const resources = await registered(() => {
    const { endpoint } = new Microsandbox("sandboxes", args);
    new command.local.Command("client", { create: endpoint.apply((url) => `curl ${url}`) });
  });
  const { dependencies = [] } = resources.find(({ name }) => name === "client") ?? {};
  return dependencies.map((urn) => urn.split("::").at(-1) ?? "");
}

it("tells the endpoint once the server has its certificate, its keys and its registries", async () => {
  expect(await waitsFor({})).not.toContain("sandboxes-key-file");
  const all = await waitsFor({
    devMode: false,
    tls: { generate: true },
    registries: { allowed: ["docker.io"] },
    images: ["alpine"],
    kvmCheck: "boot",
  });
  expect(all).toEqual(
    expect.arrayContaining(["sandboxes-key-file", "sandboxes-tls-file", "sandboxes-registries-settings"]),
  );
  // What may fail although the server can be used.
  expect(all.filter((name) => /images|boot/.test(name))).toEqual([]);
});
