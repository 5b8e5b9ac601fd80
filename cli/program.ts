import { Command } from "commander";
import { callerPath } from "./caller-path";
import { backup } from "./commands/backup";
import { destroy } from "./commands/destroy";
import { doctor } from "./commands/doctor";
import { image } from "./commands/image";
import { images } from "./commands/images";
import { importStack } from "./commands/import";
import { keysCommand } from "./commands/keys";
import { passThrough } from "./commands/pulumi";
import { restore } from "./commands/restore";
import { sandbox } from "./commands/sandbox";
import { sbom } from "./commands/sbom";
import { setup } from "./commands/setup";
import { up } from "./commands/up";
import { STACK_RULE } from "./stack";
import { explainUsage } from "./usage";

const stackOption = ["--stack <name>", STACK_RULE] as const;
const hostOption = ["--host <name>", "one of the stack's hosts, if it has several"] as const;

/** The commands behind the npm scripts. Each one is a file in commands/. */
export function program(): Command {
  const cli = new Command("npm run")
    .description("Run your own microVM sandbox service.")
    .enablePositionalOptions();
  cli
    .command("up")
    .description("Install what is missing, then deploy the service and wait until it is ready.")
    .option(...stackOption)
    .option("--yes", "skip the confirmation; required without a terminal if production is true")
    .option("--preview", "only show what it would do, also in plain words")
    .action(up);
  cli
    .command("import")
    .description("Adopt the server and volumes of a deployed stack after its Pulumi state was lost.")
    .option(...stackOption)
    .option("--yes", "skip the confirmations; required without a terminal if production is true")
    .action(importStack);
  cli
    .command("destroy")
    .description("Remove what `up` created. The volumes are kept unless volumes.keep is false.")
    .option(...stackOption)
    .option("--yes", "skip the confirmation; required without a terminal if production is true")
    .action(({ stack, yes }) => destroy(stack, yes));
  cli
    .command("setup")
    .description("Install the tools and images that `up` needs, and nothing else.")
    .option(...stackOption)
    .action(({ stack }) => setup(stack));
  cli
    .command("doctor")
    .description("Check what is installed and what is missing; read-only. Exit code 1 if `up` would fail.")
    .option(...stackOption)
    .option(...hostOption)
    .action(({ stack, host }) => doctor(stack, host));
  cli
    .command("images")
    .description("load FILE.tar (made by docker save), list or prune the images that sandboxes start from.")
    .argument("[words...]")
    .option(...stackOption)
    .option("--older-than <time>", "prune: only images that were not used for that long, like 7d")
    .option(
      "--max-size <size>",
      "prune: the least recently used, until the rest takes no more disk space than that, like 10G",
    )
    .option(...hostOption)
    .action((words, { stack, host, ...limits }) => images(words, limits, { stack, host }));
  cli
    .command("image")
    .description(
      "push REPOSITORY: build the server's image for amd64 and arm64, push both under one digest, and print the line " +
        "that deploys it. Uses the machine's own `docker login`.",
    )
    .argument("<action>", "push")
    .argument("<repository>", "like registry.example.com/team/server")
    .option("--version <number>", "version of microsandbox, if not the default")
    .option("--debian-version <tag>", "tag of the debian image to build on, if not the default")
    .option(
      "--registry-prefix <prefix>",
      "prefix of the base image's name, like registry.example.com/mirror/",
    )
    .action(image);
  cli
    .command("backup")
    .description(
      "Back up the server's volumes to a new FILE: sandboxes with their disks, images, volumes, /workspace. " +
        "The server is stopped meanwhile; running sandboxes are stopped cleanly and start again afterwards.",
    )
    .argument("<file>", "a file that does not exist yet", callerPath)
    .option(...stackOption)
    .option(...hostOption)
    .action(backup);
  cli
    .command("restore")
    .description(
      "Restore a backup into a deployed stack, on the same host or another one of the same architecture. " +
        "The file is verified before anything is changed.",
    )
    .argument("<file>", "a file written by `npm run backup`", callerPath)
    .option(...stackOption)
    .option(...hostOption)
    .option("--force", "replace the sandboxes, volumes and files that the stack has")
    .option("--keys", "also restore the API keys, replacing those of the stack")
    .action(restore);
  cli
    .command("sbom")
    .description(
      "Print the SBOM (bill of materials, CycloneDX) of the server's image, or write it to a file.",
    )
    .argument("[file]", "default: standard output", callerPath)
    .option(...stackOption)
    .option(...hostOption)
    .action(sbom);
  cli.addCommand(keysCommand(stackOption));
  // Everything after these names belongs to another program, --help included.
  cli
    .command("pulumi")
    .description("Run any pulumi command with this project's tools, backend and passphrase.")
    .argument("[args...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(passThrough);
  cli
    .command("sandbox")
    .description("Run the msb CLI inside the running server.")
    .argument("[args...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(sandbox);
  explainUsage(cli);
  return cli;
}
