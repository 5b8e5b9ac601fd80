import { choice, optionalText } from "./fields";

const ADDRESS = /^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(\/[a-z0-9][a-z0-9._-]*)*$/;
const BY_DIGEST =
  /^([a-z0-9][a-z0-9.-]*(:\d{1,5})?\/)?[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*@sha256:[0-9a-f]{64}$/;
const WORD = /^[^\p{C}:]+$/u;

/** The registry that the server's image goes through on its way to the hosts. */
export const imageRegistry = {
  registry: optionalText(ADDRESS, {
    description: "Registry (and path) to push the server image to; every host pulls it from there.",
    accepts: "a registry with or without a path, like registry.example.com/team",
    example: "registry.example.com/team",
    suggest: (given) =>
      given
        .trim()
        .replace(/^\w+:\/\//, "")
        .replace(/\/+$/, ""),
  }),
  registryUser: optionalText(WORD, {
    description:
      "User for `registry`, or for the registry of `serverImage`. If not set, each machine uses its own `docker login`.",
    accepts: "a name without a colon",
    example: "builder",
  }),
  registryPassword: optionalText(/^[^\p{C}]+$/u, {
    description: "Password of `registryUser`; set it with `--secret`.",
    accepts: "a text",
    example: "…",
  }),
};

/** Where the server's image comes from. */
export const imageSource = {
  serverImage: optionalText(BY_DIGEST, {
    description:
      "Prebuilt server image, by digest; `npm run image -- push` makes one. If not set, `up` builds the image.",
    accepts: "repository@sha256:… with 64 hexadecimal digits, and no tag",
    example: `registry.example.com/team/server@sha256:${"0".repeat(64)}`,
    suggest: (given) => given.trim().replace(/:[\w.-]+@/, "@"),
  }),
  builder: choice(["auto", "local", "host"], "auto", {
    description:
      "Docker engine that builds the image or pulls `serverImage`: this machine's (`local`, which then sends the image to the host) or the host's (`host`). `auto` builds on this machine and pulls on the host.",
    example: "host",
  }),
};

/** Whether the image is made or pulled by the host's own engine; else it comes from this machine's. */
export function isMadeOnHost(image: { builder: string; hostKind: string; hasServerImage: boolean }): boolean {
  if (image.hostKind === "local") return true;
  return image.builder === "auto" ? image.hasServerImage : image.builder === "host";
}

/** The settings that are the same on all hosts: they push to one registry. */
export const registryKeys = Object.keys(imageRegistry) as (keyof typeof imageRegistry)[];
