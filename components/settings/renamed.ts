import { fromText, isObject } from "./text-form";

/** Names that settings had before the first release: stacks that were deployed then may have them. */
const renamed: Record<string, string> = {
  makeApiKey: "generateApiKey",
  ownSandboxes: "isolateByKey",
  build: "builder",
};

type Raw = Record<string, unknown>;

/** The name that a setting has now. */
export const currentName = (key: string): string => renamed[key] ?? key;

/** Settings of a stack, or of one host of it, by their names of now. An old name counts if the new one is not given. */
export function withCurrentNames(raw: Raw): Raw {
  const settings = rename(raw, renamed);
  if (settings.builder === "here") settings.builder = "local";
  const tls = fromText("tls", settings.tls);
  if (isGroup(tls)) settings.tls = rename(tls, { own: "generate" });
  const hosts = fromText("hosts", settings.hosts);
  if (isGroup(hosts))
    settings.hosts = Object.fromEntries(
      Object.entries(hosts).map(([name, own]) => [
        name,
        isGroup(own) ? withCurrentNames(rename(own, { fresh: "allowRemoval" })) : own,
      ]),
    );
  return settings;
}

/** An object that can be read: an encrypted one is what its cipher text is in. */
const isGroup = (value: unknown): value is Raw =>
  isObject(value) && !Array.isArray(value) && !("secure" in value);

function rename(raw: Raw, names: Record<string, string>): Raw {
  const isOld = (key: string) => Object.hasOwn(names, key) && raw[names[key] ?? ""] === undefined;
  return Object.fromEntries(
    Object.entries(raw).map(([key, value]) => [isOld(key) ? (names[key] ?? key) : key, value]),
  );
}
