// What other programs use. Nothing happens on import; the program of this project's own stack is ../index.ts.
export * from "./args";
export { EmulatedHost, type EmulatedHostArgs } from "./host/emulated-host";
export type { ImageTransfer, RegistryLogin } from "./image/image-on-host";
export { type ImageRegistry, SandboxImage, type SandboxImageArgs } from "./image/sandbox-image";
export { Microsandbox } from "./microsandbox";
export type { ServerVolumes } from "./server/storage";
export type { Transform } from "./server/transform";
export type { HostConnection, MicrosandboxOptions, ServerLocation } from "./service/options";
