import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { withVariables } from "../host/connection";
import { script } from "../host/scripts";
import { loginVariables, type RegistryLogin, registryOf } from "./image-on-host";
import { printedBy, type RecordedCommands } from "./printed";

export interface PushArgs {
  /** Image of this machine's engine. */
  reference: pulumi.Input<string>;
  architecture: pulumi.Input<"amd64" | "arm64">;
  /** @example "registry.example.com/team/microsandbox-prod" */
  repository: pulumi.Input<string>;
  /** Tag that joins the images of all processors; each has a tag of its own besides, with `-amd64` or `-arm64`. */
  tag: pulumi.Input<string>;
  login?: RegistryLogin;
  /** What the state has of the service. */
  recorded?: RecordedCommands;
}

/**
 * A command that pushes an image of this machine's engine to a registry.
 *
 * @returns digests `sha256:…`: of the image, and of the multi-platform tag as it is with this image in it
 */
export function pushImage(name: string, args: PushArgs, parent: pulumi.Resource) {
  const { repository } = args;
  const LIST = pulumi.interpolate`${repository}:${args.tag}`;
  const stdin = pulumi
    .all([args.reference, args.architecture, LIST, repository, loginVariables(args.login)])
    .apply(([REFERENCE, ARCHITECTURE, list, target, secrets]) =>
      withVariables(
        { REFERENCE, ARCHITECTURE, LIST: list, REGISTRY: registryOf(target), STACK: pulumi.getStack() },
        script("image/push-image"),
        secrets,
      ),
    );
  const triggers = [args.reference, LIST];
  const pushed = new command.local.Command(
    `${name}-push`,
    {
      create: "sh -s",
      stdin: pulumi.secret(stdin),
      triggers,
      logging: "stderr",
    },
    { parent },
  );
  const printed = printedBy(pushed, `${name}-push`, triggers, args.recorded);
  const line = (index: number) => printed.apply((stdout) => stdout.split("\n").at(index) ?? "");
  return { digest: line(0), manifestList: line(-1) };
}
