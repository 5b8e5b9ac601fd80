import type { ClusterToolName, ToolName } from "../setup/tools/types";

/** How a tool is built from the Go modules that `go/<dir>` pins. */
export interface GoRecipe {
  name: ToolName | ClusterToolName | "pulumi-language-yaml";
  /** Folder below go/. */
  dir: string;
  /** The version that the build reports. */
  version: string;
  /** Import path of the main package. */
  packagePath: string;
  /** What the linker sets, `<full name of a variable>=<value>`: the version. */
  variables: readonly string[];
  tags?: string;
  /** A file of a pinned module that our own main embeds, and the name by which it does. */
  embeds?: { module: string; file: string; as: string };
  /** How long a build takes on two cores with cold caches, for the announcement. */
  takes: string;
}

const sdkVersion = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";

/** The three tools of every stack that can be built. The command plugin is bundled from TypeScript instead. */
export const goRecipes = {
  pulumi: {
    name: "pulumi",
    dir: "pulumi",
    version: "3.259.0",
    packagePath: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    variables: [`${sdkVersion}=v3.259.0`],
    takes: "5 minutes",
  },
  language: {
    name: "pulumi-language-nodejs",
    dir: "pulumi-language-nodejs",
    version: "3.68.0",
    packagePath: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    variables: [`${sdkVersion}=v3.68.0`],
    takes: "half a minute",
  },
  docker: {
    name: "pulumi-resource-docker",
    dir: "pulumi-resource-docker",
    version: "5.2.0",
    packagePath: ".",
    variables: ["main.version=5.2.0"],
    // docker_compose is no part of the Pulumi package and would add a quarter to the binary.
    tags: "no_compose",
    takes: "4 minutes",
  },
} as const satisfies Record<string, GoRecipe>;

/** The host of programs in YAML: no part of the stack's tools, the tests deploy an example with it. */
export const yamlLanguage: GoRecipe = {
  name: "pulumi-language-yaml",
  dir: "pulumi-language-yaml",
  version: "1.25.0",
  packagePath: "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml",
  variables: ["github.com/pulumi/pulumi-yaml/pkg/version.Version=v1.25.0"],
  takes: "4 minutes",
};
