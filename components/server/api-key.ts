import * as pulumi from "@pulumi/pulumi";
import { VisibleError } from "../settings/errors";
import type { HostSettings } from "../settings/schema";
import { secretFrom } from "./secret-command";

/** 256 random bits, as hexadecimal digits. */
const script = `printf 'msb_%s\\n' "$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \\n')"`;

type KeySettings = Pick<HostSettings, "devMode" | "apiKey" | "keys" | "makeApiKey">;

/** Whether a host takes the key that the first `up` makes, if one is made. */
export const takesMadeKey = ({ devMode, apiKey, makeApiKey }: KeySettings): boolean =>
  !devMode && apiKey === undefined && makeApiKey;

/**
 * The API key of services whose settings hold none: made by the first `up`, the same ever after, encrypted in the state.
 * Empty where all of them had other keys (`keys`) at that time.
 */
export function madeApiKey(
  name: string,
  services: readonly KeySettings[],
  parent?: pulumi.Resource,
): pulumi.Output<string> {
  const isNeeded = services.some(({ keys }) => keys.length === 0);
  return secretFrom(name, isNeeded ? script : ":", { parent }).apply((text) => text.trim());
}

/** @throws VisibleError where there is neither an API key nor one of the setting `keys` */
export function requireKey(keys: HostSettings["keys"], apiKey: string | undefined): void {
  if (apiKey || keys.length > 0) return;
  throw new VisibleError(
    "devMode is false and there is no key: nobody could use the server.\n" +
      `  to mend: openssl rand -hex 32 | pulumi config set --secret microsandbox:apiKey --stack ${pulumi.getStack()}`,
  );
}
