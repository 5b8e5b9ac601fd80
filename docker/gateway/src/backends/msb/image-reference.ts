/** An image's name in its parts: `alpine` is `docker.io`, `library/alpine`, `:latest`. */
export type ImageReference = {
  registry: string;
  repository: string;
  /** Tag, digest or both. */
  suffix: string;
};

/** Takes a reference apart as Docker and msb do. */
export function parseReference(text: string): ImageReference {
  const [first = "", ...rest] = text.split("/");
  const named = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const registry = named ? first.replace(/^index\.docker\.io$/, "docker.io") : "docker.io";
  const path = named ? rest.join("/") : text;
  const end = /(?:@|:(?!.*\/)).*$/.exec(path)?.index ?? path.length;
  const [name, suffix] = [path.slice(0, end), path.slice(end) || ":latest"];
  const repository = registry === "docker.io" && !name.includes("/") ? `library/${name}` : name;
  return { registry, repository, suffix };
}

/** One text for all ways to write a reference. @example canonical("alpine") // "docker.io/library/alpine:latest" */
export function canonical(text: string): string {
  const { registry, repository, suffix } = parseReference(text);
  return `${registry}/${repository}${suffix}`;
}

/** Prefixes by the registry that they stand in for. @example { "docker.io": "mirror.example.com/hub/" } */
export type MirrorPrefixes = Record<string, string>;

/** Where an image is pulled from instead; undefined where its registry has no mirror. */
export function mirrored(text: string, prefixes: MirrorPrefixes): string | undefined {
  const { registry, repository, suffix } = parseReference(text);
  const prefix = Object.hasOwn(prefixes, registry) ? prefixes[registry] : undefined;
  return prefix === undefined ? undefined : `${prefix}${repository}${suffix}`;
}
