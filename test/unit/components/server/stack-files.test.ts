import { expect, it } from "vitest";
import { Microsandbox } from "../../../../components/microsandbox";
import {
  keysPath,
  registryFiles,
  serverHome,
  settingsFiles,
} from "../../../../components/server/stack-files";
import { registered } from "../../../harness/pulumi-mocks";

it("a backup leaves out, and a restore keeps, exactly what the program writes to the server's volume", async () => {
  const resources = await registered(
    () =>
      new Microsandbox("sandboxes", {
        ...{ devMode: false, apiKey: "k".repeat(40), tls: { generate: true }, images: ["alpine:3.22"] },
      }),
  );
  const written = resources.flatMap(({ inputs: { stdin } }) =>
    [...String(stdin?.value ?? stdin ?? "").matchAll(/mv -f (\S+)\.new /g)].map(([, path]) => path),
  );
  // The others are what the server's command writes: test/unit/gateway/registries.test.ts.
  const listed = [...settingsFiles, keysPath].filter((path) => !registryFiles.includes(path));
  expect(written.sort()).toEqual(listed.map((path) => `${serverHome}/${path}`).sort());
});
