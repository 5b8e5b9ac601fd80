/**
 * The server's image for both processors, under one digest of a registry. `npm run image -- push` runs it; with plain
 * pulumi, in this folder: `pulumi config set repository registry.example.com/team/server && pulumi up`.
 */
import * as pulumi from "@pulumi/pulumi";
import { SandboxImage } from "../../components/image/sandbox-image";
import { parseSettings } from "../../components/settings/parse-settings";

const config = new pulumi.Config();
const repository = config.require("repository");
const { version, debianVersion, registryPrefix } = parseSettings(
  Object.fromEntries(
    (["version", "debianVersion", "registryPrefix"] as const).map((key) => [key, config.get(key)]),
  ),
);

const user = config.get("registryUser");
const password = config.getSecret("registryPassword");
const registry = { repository, ...(user && password ? { login: { user, password } } : {}) };
const image = (architecture: "amd64" | "arm64", number: pulumi.Input<string>) =>
  new SandboxImage(architecture, {
    ...{ baseName: "microsandbox-push", architecture, version: number },
    ...{ debianVersion, registryPrefix, registry },
  });

const amd64 = image("amd64", version);
// One after the other: the digest of both is known when the second one is there.
const after = pulumi.all([amd64.manifestList]).apply(() => version);
const arm64 = image("arm64", after);

/** What the setting `serverImage` takes. */
export const serverImage = pulumi.interpolate`${repository}@${arm64.manifestList}`;
