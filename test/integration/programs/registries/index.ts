import * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import { Registries } from "../../../../components/server/registries";

const { TEST_CONTAINER: generation = "", TEST_ALLOWED: allowed, TEST_EARLIER: isEarlier } = process.env;

/** In the place of the server's container, and replaced as it is: deleted first. */
const container = new command.local.Command(
  "container",
  { create: "docker run", delete: "docker rm", triggers: [generation] },
  { deleteBeforeReplace: true },
);

/** What an earlier version has made, which another container replaced. */
const withTriggers: pulumi.ResourceTransform = ({ props, opts }) => ({
  props: { ...props, triggers: [container.id] },
  opts: { ...opts, ignoreChanges: [] },
});

if (allowed)
  new Registries(
    "registries",
    {
      settings: { allowed: [allowed], mirrors: {}, plainHttp: [], certificates: "", logins: {} },
      connection: { kind: "local" },
      containerName: "server",
      containerId: container.id,
    },
    { dependsOn: container, transforms: isEarlier ? [withTriggers] : [] },
  );
