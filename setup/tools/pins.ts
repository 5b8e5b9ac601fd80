import type { ToolName } from "./types";

/** A tool's pinned version, and which other versions found on the machine will do. */
export interface Pin {
  name: ToolName;
  version: string;
  /** The range that is accepted, in words, for messages. */
  accepts: string;
}

export const pins = {
  pulumi: { name: "pulumi", version: "3.259.0", accepts: "3.259.0 or newer, below 4" },
  language: { name: "pulumi-language-nodejs", version: "3.259.0", accepts: "the one beside pulumi" },
  docker: { name: "pulumi-resource-docker", version: "5.2.0", accepts: "5.2.0 or newer, below 6" },
  // npm's `latest` tag of @pulumi/command points at a stray 4.5.0, so newer majors are no better.
  command: { name: "pulumi-resource-command", version: "1.2.1", accepts: "1.2.1 or newer, below 2" },
} as const satisfies Record<string, Pin>;

/** How a tool is built from the Go modules that `go/<dir>` pins. */
export interface GoRecipe {
  name: ToolName;
  /** Folder below `offline/go`. */
  dir: ToolName;
  /** The version that the build reports. */
  version: string;
  /** Import path of the main package. */
  packagePath: string;
  /** Full name of the variable that the linker sets to `v<version>` or, for our own main, `<version>`. */
  versionFlag: string;
  tags?: string;
  /** How long a build takes on two cores with cold caches, for the announcement. */
  takes: string;
}

const sdkVersion = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";

/** The three tools that can be built. The command plugin is bundled from TypeScript instead. */
export const goRecipes = {
  pulumi: {
    name: "pulumi",
    dir: "pulumi",
    version: "3.259.0",
    packagePath: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    versionFlag: `${sdkVersion}=v3.259.0`,
    takes: "5 minutes",
  },
  language: {
    name: "pulumi-language-nodejs",
    dir: "pulumi-language-nodejs",
    version: "3.68.0",
    packagePath: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    versionFlag: `${sdkVersion}=v3.68.0`,
    takes: "half a minute",
  },
  docker: {
    name: "pulumi-resource-docker",
    dir: "pulumi-resource-docker",
    version: "5.2.0",
    packagePath: ".",
    versionFlag: "main.version=5.2.0",
    // docker_compose is no part of the Pulumi package and would add a quarter to the binary.
    tags: "no_compose",
    takes: "4 minutes",
  },
} as const satisfies Record<string, GoRecipe>;

/**
 * Whether a version found on the machine may stand in for the pinned one: the same major version, and not
 * older. A leading `v` is allowed; pre-releases are refused, they sort before their release.
 */
export function accepts(found: string, wanted: string): boolean {
  const a = parse(found);
  const b = parse(wanted);
  if (!a || !b || a[0] !== b[0]) return false;
  return a[1] !== b[1] ? a[1] > b[1] : a[2] >= b[2];
}

function parse(version: string): [number, number, number] | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(\+[\w.-]+)?$/.exec(version.trim());
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}
