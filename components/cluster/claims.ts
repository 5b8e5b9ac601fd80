import { formatSize } from "../settings/values";
import type { ClusterNeeds, ClusterReport } from "./cluster-report";
import { names } from "./layout";
import { quantity } from "./quantity";

type Claim = ClusterReport["claims"][number];

/** What of the servers' claims can't become what the settings ask for, a block of lines each. */
export function claimProblems({ claims, storageClasses }: ClusterReport, needs: ClusterNeeds): string[] {
  return (["state", "workspace"] as const).flatMap((kind) => {
    const setting = `cluster.${kind}Size`;
    const wanted = needs[`${kind}Size`];
    const all = claims.filter(({ name }) => name.startsWith(`${kind}-${names.servers}-`));
    const grows = ({ class: of }: Claim) =>
      storageClasses.some(({ name, expands }) => name === of && expands);
    const keep = (size: string) =>
      `\n  to keep it: pulumi config set --path microsandbox:${setting} ${formatSize(quantity(size))}`;
    const larger = all.find(({ size }) => quantity(size) > wanted);
    const fixed = all.find((claim) => quantity(claim.size) < wanted && !grows(claim));
    const other = all.find(({ class: of }) => needs.storageClass !== undefined && of !== needs.storageClass);
    return [
      larger &&
        `The volume claim ${larger.name} has ${larger.size}, more than ${setting}: a volume can't be made smaller.${keep(larger.size)}`,
      fixed &&
        `The volume claim ${fixed.name} has ${fixed.size}, less than ${setting}, and its storage class ${fixed.class ?? "(none)"} lets no volume grow.${keep(fixed.size)}`,
      kind === "state" &&
        other &&
        `The volume claim ${other.name} is of the storage class ${other.class ?? "(none)"}, not ${needs.storageClass}: that of a volume can't be changed.\n` +
          `  to keep it: pulumi config set --path microsandbox:cluster.storageClass ${other.class ?? "NAME"}`,
    ].filter((each) => typeof each === "string");
  });
}
