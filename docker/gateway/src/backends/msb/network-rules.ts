import type * as z from "zod";
import { invalidSpec } from "../../errors";
import type { destination, networkRule, SandboxSpec } from "../../sandboxes/spec";
import { isBefore07 } from "./command-line";

type Rule = z.output<typeof networkRule>;

/** The flags of `msb create` for a network section: the policy's rules in their order, the limits. */
export function networkArguments(
  { network }: SandboxSpec,
  policy: SandboxSpec["network"]["policy"],
  msbVersion: string,
): string[] {
  const args: string[] = [];
  if (policy) {
    args.push("--net-default-egress", policy.default_egress);
    args.push("--net-default-ingress", policy.default_ingress);
    args.push(...ruleArguments(policy.rules));
  }
  if (network.max_connections !== undefined) args.push("--max-connections", String(network.max_connections));
  args.push(...versionedArguments(network, isBefore07(msbVersion)));
  return args;
}

/** Bytes of one argument: Linux takes less than 128 KiB. */
const MAX_ARGUMENT = 128 * 1024 - 1;
/** Bytes of all rules: Linux takes 1 MiB of arguments and environment together where the stack is 4 MiB. */
const MAX_RULES = 512 * 1024;

/** @throws ServiceError invalidSpec where no process could be given that many */
export function ruleArguments(rules: Rule[]): string[] {
  const args: string[] = [];
  let total = 0;
  for (const rule of rules) {
    const tokens = ruleTokens(rule).join(",");
    total += tokens.length;
    if (tokens.length > MAX_ARGUMENT)
      throw invalidSpec(
        `network.policy.rules: one with its protocols times its ports is ${tokens.length} bytes; ${MAX_ARGUMENT} is the most`,
      );
    if (total > MAX_RULES)
      throw invalidSpec(
        `network.policy.rules: with their protocols times their ports they are more than ${MAX_RULES} bytes`,
      );
    args.push("--net-rule", tokens);
  }
  return args;
}

/** 0.6 takes `--net-strict` as a switch that is off, 0.7 as a value that is true by default. */
function versionedArguments(
  { strict, max_udp_connections: udp }: SandboxSpec["network"],
  old: boolean,
): string[] {
  if (old && udp !== undefined)
    throw invalidSpec("network.max_udp_connections: not supported by this server's microsandbox version");
  if (old) return strict ? ["--net-strict"] : [];
  return [
    ...(strict === undefined ? [] : [`--net-strict=${strict}`]),
    ...(udp === undefined ? [] : ["--max-udp-connections", String(udp)]),
  ];
}

/** One wire rule is a set of protocols times a set of ports; a token of msb names one of each. */
export function ruleTokens(rule: Rule): string[] {
  const head = `${rule.action}:${rule.direction}@${target(rule.destination)}`;
  const protocols = rule.protocols.length ? rule.protocols : ["any"];
  if (rule.ports.length === 0) return protocols.map((protocol) => `${head}:${protocol}`);
  return protocols.flatMap((protocol) =>
    rule.ports.map(({ start, end }) => `${head}:${protocol}:${start === end ? start : `${start}-${end}`}`),
  );
}

function target(to: z.output<typeof destination>): string {
  if (to === "any") return "any";
  if ("cidr" in to) return to.cidr.includes(":") ? `[${to.cidr}]` : to.cidr;
  if ("domain" in to) return `domain=${to.domain}`;
  if ("domain_suffix" in to) return `suffix=${to.domain_suffix}`;
  const names: Record<string, string> = { link_local: "link-local", metadata: "meta" };
  return names[to.group] ?? to.group;
}
