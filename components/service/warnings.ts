import * as pulumi from "@pulumi/pulumi";
import { certificateWarning } from "../settings/given-certificate";
import { forProgram, withStack } from "../settings/message-commands";
import { hostMessage } from "../settings/visible-error";
import type { Service } from "./service";

/** Warns, in each preview and up, of settings that are allowed and risky. */
export function warn({ component, structure, values, options: { hostName } }: Service): void {
  const say = (text: string) =>
    pulumi.log.warn(
      withStack(forProgram(hostName ? hostMessage(hostName, text) : text), pulumi.getStack()),
      component,
    );
  if (structure.privileged)
    say(
      "The server is privileged: code that breaks out of its microVM is root on the host.\n" +
        "  to run it unprivileged: pulumi config set microsandbox:privileged false",
    );
  values.tls.apply((settings) => {
    const ending = certificateWarning(settings);
    if (ending) return say(`${ending.what}\n  ${ending.remedy.replaceAll("\n", "\n  ")}`);
  });
}
