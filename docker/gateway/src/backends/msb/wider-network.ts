import { ServiceError } from "../../errors";
import type { EgressPolicy } from "./egress";
import type { SandboxRecord } from "./sandbox-record";
import { isNoWider } from "./wider-policy";

/** msb can't change the network rules of a sandbox that is made. @throws ServiceError conflict */
export function refuseWiderNetwork(
  { name, spec, egress }: Pick<SandboxRecord, "name" | "spec" | "egress">,
  now: EgressPolicy,
): void {
  // Made without us: msb's own policy is the public internet, and a client's may have been anything.
  const level = () => (spec?.whole().network.policy ? "all" : "public");
  const made = egress ?? { level: level(), grants: [], hostRanges: now.hostRanges };
  if (isNoWider(made, now)) return;
  throw new ServiceError(
    "conflict",
    `${name} was made when sandboxes could reach more of the network than this server allows now; ` +
      "to keep its files, set the old `egress` again, start it and copy them; else remove it and create it anew",
  );
}
