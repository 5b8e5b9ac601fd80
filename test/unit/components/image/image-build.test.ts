import { expect, it } from "vitest";
import { SandboxImage } from "../../../../components/image/sandbox-image";
import { registered } from "../../../harness/pulumi-mocks";

/** The one build of an image, as the provider gets it. */
async function build() {
  const resources = await registered(
    () =>
      new SandboxImage("image", {
        ...{ baseName: "test", architecture: "amd64", version: "0.7.11", debianVersion: "13.2-slim" },
      }),
  );
  return resources.find(({ type }) => type.endsWith(":RemoteImage"))?.inputs.build;
}

it("an image is no index, whatever the engine keeps images in: a multi-platform tag of a registry takes no index", async () => {
  expect((await build()).provenance).toBe("false");
});
