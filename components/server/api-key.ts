import type * as pulumi from "@pulumi/pulumi";
import type { HostSettings } from "../settings/schema";
import { VisibleError } from "../settings/visible-error";
import { secretFrom } from "./secret-command";

/** 256 random bits, as hexadecimal digits. */
const script = `printf 'msb_%s\\n' "$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \\n')"`;

/** Whether a host uses the generated key, if there is one. */
export const takesMadeKey = ({
  devMode,
  apiKey,
  generateApiKey,
}: Pick<HostSettings, "devMode" | "generateApiKey"> & { apiKey?: unknown }): boolean =>
  !devMode && apiKey === undefined && generateApiKey;

/**
 * The generated API key of services without `apiKey`: created by the first `up`, kept encrypted in the state.
 *
 * @param isNeeded whether a service has no other key (`keys`); empty where none was needed at that time
 */
export function madeApiKey(name: string, isNeeded: boolean, parent?: pulumi.Resource): pulumi.Output<string> {
  return secretFrom(name, isNeeded ? script : ":", { parent }).apply((text) => text.trim());
}

/** @throws VisibleError where there is neither an API key nor one of the setting `keys` */
export function requireKey(keys: HostSettings["keys"], apiKey: string | undefined): void {
  if (apiKey || keys.length > 0) return;
  throw new VisibleError(
    "devMode is false, but there is no API key: no client could use the server.\n" +
      "  fix: openssl rand -hex 32 | pulumi config set --secret microsandbox:apiKey",
  );
}
