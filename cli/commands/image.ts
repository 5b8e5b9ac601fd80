import { rm } from "node:fs/promises";
import { join } from "node:path";
import { localEngine } from "../../components/host/local-engine";
import { DEFAULT_DEBIAN } from "../../components/settings/versions";
import { ensureBaseImage, ensureEngine } from "../../setup/engine";
import { projectRoot } from "../../setup/project";
import { createReporter } from "../../setup/report";
import { ensureTools } from "../../setup/tools";
import { UserError } from "../../setup/user-error";
import { type PulumiEnded, runPulumi } from "../pulumi-process";
import { withThrowawayStack } from "../throwaway-stack";

/** A repository as docker has it: no scheme, no tag, no digest. */
const REPOSITORY =
  /^([a-z0-9][a-z0-9.-]*(:\d{1,5})?\/)?[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/;
const program = join(projectRoot, "cli/push-image");

/**
 * `npm run image -- push REPOSITORY`: builds the server's image for amd64 and arm64, pushes both under one digest, and
 * prints the line that deploys it. The program is cli/push-image; its state is thrown away.
 *
 * @param options settings other than the defaults
 * @throws UserError where the repository's name, the build or the push is at fault
 */
export async function image(
  action: string,
  repository: string,
  options: { version?: string; debianVersion?: string; registryPrefix?: string },
): Promise<void> {
  if (action !== "push")
    throw new UserError(`There is no action ${action}. To push: npm run image -- push ${repository}`);
  if (!REPOSITORY.test(repository))
    throw new UserError(
      `${repository} is not the name of a repository.\nExpected: a registry and a path without a tag, like registry.example.com/team/server`,
    );
  const report = createReporter();
  const tools = await ensureTools(report);
  const engine = await ensureEngine(report);
  const { debianVersion = DEFAULT_DEBIAN, registryPrefix = "" } = options;
  const base = `${registryPrefix}debian:${debianVersion}`;
  await ensureBaseImage(report, { image: base, platform: `linux/${engine.architecture}` });

  await withThrowawayStack(program, async (stack, backend) => {
    const pulumi = (args: string[], stdout: "pipe" | typeof process.stderr = process.stderr) =>
      runPulumi(`${tools.binDir}/pulumi`, [...args, "--stack", stack, "--cwd", program], {
        env: {
          ...tools.env,
          ...{ PULUMI_BACKEND_URL: backend, PULUMI_CONFIG_PASSPHRASE: "", DOCKER_CONTEXT: "" },
          DOCKER_HOST: localEngine(),
        },
        stdio: ["ignore", stdout, "inherit"],
      });
    try {
      refuseFailed(await pulumi(["stack", "init"], "pipe"));
      const settings = Object.entries({ ...options, repository }).filter(([, value]) => value !== undefined);
      const config = settings.flatMap(([key, value]) => ["--config", `${key}=${value}`]);
      refuseFailed(await pulumi(["up", "--yes", "--skip-preview", ...config]));
      const { stdout, ...read } = await pulumi(["stack", "output", "serverImage"], "pipe");
      refuseFailed(read);
      // That of a failed build stays: pulumi has named it.
      for (const architecture of ["amd64", "arm64"])
        await rm(join(projectRoot, `image-build-${stack}-${architecture}.log`), { force: true });
      console.log(deployLine(stdout.trim(), options.version));
    } finally {
      // The images here are of no use any more; the builder's cache stays.
      await pulumi(["destroy", "--yes", "--skip-preview"], "pipe");
    }
  });
}

function refuseFailed({ exitCode, interrupted }: Pick<PulumiEnded, "exitCode" | "interrupted">): void {
  if (interrupted) throw new UserError("Interrupted. The image was not pushed.");
  if (exitCode !== 0)
    throw new UserError("The image was not pushed. The reason is in pulumi's output above.");
}

/** What deploys a pushed image. A deployment refuses one of another version than its own. */
export function deployLine(serverImage: string, version: string | undefined): string {
  const set = (key: string, value: string) => `npm run pulumi -- config set microsandbox:${key} ${value}`;
  const lines = [set("serverImage", serverImage), ...(version ? [set("version", version)] : [])];
  return lines.join(" && ");
}
