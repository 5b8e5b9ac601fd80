import * as z from "zod";
import { settingMeta } from "./fields";

/** The host of a stack that names none: one deployed before keeps its objects by keeping this name in `hosts`. */
export const DEFAULT_HOST = "default";

/** Name of the service in the stack's own program; index.ts gives it, and the commands look for it in the state. */
export const SERVICE = "microsandbox";

/** First part of the names of a host's resources; those on the host itself end in the stack's name. */
export function resourceName(name: string, host: string): string {
  return host === DEFAULT_HOST ? name : `${name}-${host}`;
}

/** A host's name is a part of the names of its resources, containers and images. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?$/;

export const isHostName = (name: string): boolean => NAME.test(name);

/** Several hosts: what is different on each of them. The overrides are checked as the settings that they are. */
export const hosts = z
  .record(z.string(), z.record(z.string(), z.unknown()))
  .prefault({})
  .register(settingMeta, {
    description:
      "Several hosts by name, each with the settings that differ there; if empty, the one in `host`. If none is called " +
      "`default`, set `allowRemoval` to true on one of them to confirm that the server of an earlier single-host stack may be removed.",
    accepts: 'an object of hosts, like {"default":{"host":"local"},"b":{"host":"ssh://root@b.example.com"}}',
    example: '{"default":{"host":"local"}}',
  });
