import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/**
 * The microsandbox version of a stack. `latest` is looked up once, by a command resource whose output in the
 * state is the record: later runs keep the version until the setting changes.
 */
export function resolveVersion(
  name: string,
  setting: string,
  parent: pulumi.Resource,
): pulumi.Output<string> {
  if (setting !== "latest") return pulumi.output(setting);
  const lookup = new command.local.Command(
    `${name}-latest-version`,
    {
      create:
        "python3 -m pip index versions microsandbox 2>/dev/null | sed -n 's/^microsandbox (\\(.*\\))$/\\1/p' | grep . || " +
        "{ echo 'Could not look up the latest microsandbox version (python3 with pip is needed). Set a number instead: " +
        "npm run pulumi -- config set microsandbox:version 0.7.11' >&2; exit 1; }",
      logging: "stderr",
    },
    { parent },
  );
  return lookup.stdout;
}
