import { optionalText } from "./fields";

const ADDRESS = /^[a-z0-9][a-z0-9.-]*(:\d{1,5})?(\/[a-z0-9][a-z0-9._-]*)*$/;
const WORD = /^[^\p{C}:]+$/u;

/** The registry that the server's image goes through on its way to the hosts. */
export const imageRegistry = {
  registry: optionalText(ADDRESS, {
    description: "Registry (and path) that the server's image is pushed to and every host pulls from.",
    accepts: "a registry with or without a path, like registry.example.com/team",
    example: "registry.example.com/team",
    suggest: (given) =>
      given
        .trim()
        .replace(/^\w+:\/\//, "")
        .replace(/\/+$/, ""),
  }),
  registryUser: optionalText(WORD, {
    description: "User of `registry`; the `docker login` of each machine holds if not set.",
    accepts: "a name without a colon",
    example: "builder",
  }),
  registryPassword: optionalText(/^[^\p{C}]+$/u, {
    description: "Password of `registryUser`; set it with `--secret`.",
    accepts: "a text",
    example: "…",
  }),
};

/** The settings that are the same on all hosts: they push to one registry. */
export const registryKeys = Object.keys(imageRegistry) as (keyof typeof imageRegistry)[];
