import type { AccessArgs } from "./access";
import type { HostArgs } from "./host";
import type { ImageArgs } from "./image";
import type { SandboxesArgs } from "./sandboxes";
import type { ServerArgs } from "./server";

/**
 * Arguments of a sandbox service; all are optional. An `Input` may be an output of another resource or a secret. The
 * others decide which resources exist, so they must be plain values.
 */
export interface MicrosandboxArgs extends ImageArgs, AccessArgs, HostArgs, ServerArgs, SandboxesArgs {}
