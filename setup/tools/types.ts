/** Where a tool in use came from. */
export type Origin = "path" | "official" | "built" | "stand-in";

/** The tools the stack needs, by the name of their executable. */
export type ToolName =
  | "pulumi"
  | "pulumi-language-nodejs"
  | "pulumi-resource-docker"
  | "pulumi-resource-command";

/** What {@link ensureTools} made available. */
export interface Tools {
  /** Directory to prepend to PATH; holds all four executables. */
  binDir: string;
  /** Environment for every pulumi process, PATH included; merge it over `process.env`. */
  env: Record<string, string>;
  /** Where each tool came from. */
  origins: Record<string, Origin>;
}

/** One line of `npm run doctor` about a tool. */
export interface ToolStatus {
  name: ToolName;
  /** The version in use, or the one that is wanted where the tool is absent. */
  version: string;
  present: boolean;
  /** Path of the executable, or what would be done to get it. */
  where: string;
  /** What to type where the tool is absent. */
  remedy?: string;
}
