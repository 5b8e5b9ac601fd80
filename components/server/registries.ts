import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { type Connection, hostShell, remoteCommand } from "../host/connection";
import type { RegistrySettings } from "../settings/registries";
import { shellQuote } from "../settings/shell";

export interface RegistriesArgs {
  /** Mirrors, authorities, registries without TLS and credentials. */
  settings: pulumi.Input<RegistrySettings>;
  /** The host that the server runs on. */
  connection: pulumi.Input<Connection>;
  /** Name of the server's container. */
  containerName: pulumi.Input<string>;
  /** Id of the container: a new one may have another state volume. */
  containerId: pulumi.Input<string>;
}

/**
 * Registry settings of the server: files on the state volume that msb and the gateway read each time, so that a change
 * replaces no container. They hold while the container is replaced, and go only where they are set no more. Passwords come by standard input and are secret in the state.
 *
 * @example new Registries("registries", { settings, connection, containerName, containerId }, { dependsOn: server.ready })
 */
export class Registries extends pulumi.ComponentResource {
  /** Settled once the settings hold. */
  readonly applied: pulumi.Resource;

  constructor(name: string, args: RegistriesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("microsandbox:index:Registries", name, {}, opts);
    const connection = pulumi.output(args.connection);
    this.applied = new command.local.Command(
      `${name}-settings`,
      {
        create: connection.apply(hostShell),
        delete: connection.apply((host) => remoteCommand(host, "sh -s clear")),
        stdin: pulumi.secret(
          pulumi
            .all([args.containerName, args.settings, args.containerId])
            .apply(
              ([container, settings, id]) => `# container ${id}\n${registriesScript(container, settings)}`,
            ),
        ),
        logging: "none",
      },
      // Another container is an update, by a line of the script. A trigger would make it a replacement, which begins with
      // `delete`: the server that goes, and the one that comes until it is ready, would run without the allow-list. Earlier
      // versions have one in the state.
      { parent: this, ignoreChanges: ["triggers"] },
    );
    this.registerOutputs({});
  }
}

/** A script that writes the settings to the server; with the argument `clear` it removes them if possible. */
export function registriesScript(container: string, settings: RegistrySettings): string {
  const take = `docker exec --interactive ${shellQuote(container)} node /opt/gateway/server.cjs registries`;
  return [
    `if [ "\${1:-}" = clear ]; then`,
    `  echo '{}' | ${take} || echo "no server to take the registries from" >&2`,
    "  exit 0",
    "fi",
    `${take} <<'SETTINGS'`,
    JSON.stringify(settings),
    "SETTINGS",
    "",
  ].join("\n");
}
