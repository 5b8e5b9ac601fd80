import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand } from "../host/connection";
import { forProgram } from "../settings/message-commands";
import { shellQuote } from "../settings/shell";
import { writeServerFile } from "./server-file";
import { serverPath } from "./stack-files";

export interface PulledImagesArgs {
  /** References to pull. @example ["python:3.13-slim"] */
  images: string[];
  /** Mirrors by registry: an image is pulled under the name that a sandbox's start will look for. */
  mirrors: pulumi.Input<Record<string, string>>;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: another one may have a new state volume, without the images. */
  containerId: pulumi.Input<string>;
}

/**
 * Sandbox images pulled into the server's cache while deploying, so that a first start is not a download. Their list is on
 * the state volume: the server removes none of them, and pulls what is missing again, for example after a restore.
 */
export class PulledImages extends pulumi.ComponentResource {
  constructor(name: string, args: PulledImagesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:PulledImages", name, {}, opts);
    const connection = pulumi.output(args.connection);
    const pulled = args.images.map(
      (image) =>
        new command.local.Command(
          `${name}-${image}`,
          {
            create: connection.apply(hostShell),
            stdin: pulumi
              .all([args.containerName, args.mirrors])
              .apply(([container, mirrors]) => pullCommand(image, container, mirrors)),
            triggers: [image, args.containerId],
          },
          { parent: this, deleteBeforeReplace: true },
        ),
    );
    // After the pulls: the server would begin with the same.
    new command.local.Command(
      `${name}-list`,
      {
        create: connection.apply(hostShell),
        delete: pulumi
          .all([connection, args.containerName])
          .apply(
            ([host, container]) =>
              `${remoteCommand(host, `docker exec ${shellQuote(container)} rm -f ${serverPath("images")}`)} || true`,
          ),
        stdin: pulumi
          .output(args.containerName)
          .apply((container) => writeServerFile(container, "images", JSON.stringify(args.images))),
        triggers: [args.containerId],
      },
      { parent: this, dependsOn: pulled, deleteBeforeReplace: true },
    );
    this.registerOutputs({});
  }
}

/** A script that pulls an image into the server's cache, or says what else is possible. */
export function pullCommand(image: string, container: string, mirrors: Record<string, string>): string {
  const reference = Object.keys(mirrors).length > 0 ? mirroredName(image, container) : shellQuote(image);
  const run = `docker exec ${container} msb`;
  // A cached image needs no registry, which may be unreachable.
  return `image=${reference}\n${run} image inspect "$image" >/dev/null 2>&1 || ${run} pull "$image" || {
printf '%s\\n' ${shellQuote(explainPull(image))} >&2
exit 1
}`;
}

/** The rest of the service is there by then. */
function explainPull(image: string): string {
  return forProgram(
    `The image ${image} (setting images) could not be pulled: the reason is above. The server itself runs.\n` +
      "  if its registry can't be reached: name a mirror in registries.mirrors, or load the image from a file\n" +
      "    (in a clone of this project's repository: npm run images -- load FILE.tar)\n" +
      "  to go on without it: pulumi config rm microsandbox:images && pulumi up",
  );
}

/** A word of a shell script: the image's name under the mirrors, which the server knows. */
function mirroredName(image: string, container: string): string {
  return `"$(docker exec ${container} node /opt/gateway/server.cjs mirrored ${shellQuote(image)})"`;
}
