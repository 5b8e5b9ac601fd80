/** What other programs may use. */
export { deployHosts, stackOutputs } from "./fleet";
export { EmulatedHost, type EmulatedHostArgs } from "./host/emulated-host";
export { SandboxImage, type SandboxImageArgs } from "./image/sandbox-image";
export { Microsandbox } from "./microsandbox";
export type { HostSettings, MicrosandboxArgs, StackSettings } from "./settings/schema";
export { readStackSettings } from "./settings/stack-settings";
