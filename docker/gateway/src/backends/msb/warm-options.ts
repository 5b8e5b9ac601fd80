import type { Limits } from "../../limits/capacity";
import type { Usage } from "../../sandboxes/backend";
import type { SandboxSpec } from "../../sandboxes/spec";
import type { CreatePlan } from "./create-plan";
import type { ImageCache } from "./image-cache";
import type { LifecycleLog } from "./lifecycle";
import type { SandboxCommands } from "./sandbox-commands";
import type { WarmKind } from "./warm-kind";

/** How a create came out: claimed, or why not. */
export type ClaimResult = "hit" | "image" | "spec" | "empty" | "failed";

export type WarmPoolOptions = {
  home: string;
  kinds: WarmKind[];
  /** After that many seconds without use msb stops one; 0 for never. As every sandbox has it whose client set nothing. */
  idleSeconds: number;
  commands: Pick<SandboxCommands, "create" | "inspect" | "remove">;
  images: Pick<ImageCache, "withImage">;
  autoPull: boolean;
  planOf: (spec: SandboxSpec, reference: string) => Promise<CreatePlan>;
  limits: Limits;
  /** What sandboxes have of the limits. */
  used: () => Pick<Usage, "running" | "memoryMib" | "cpus">;
  /** Whether requests wait for boots now. */
  isBusy: () => boolean;
  /** @throws where too little of the disk is free */
  checkDisk: () => Promise<void>;
  /** Told of each create while there is a pool. */
  claimed: (result: ClaimResult, seconds: number) => void;
  log: LifecycleLog;
};
