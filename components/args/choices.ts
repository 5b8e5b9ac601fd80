/** What every `up` checks on the host: nothing, /dev/kvm, or that and the boot of one microVM. */
export const KvmCheckLevel = { Off: "off", Device: "device", Boot: "boot" } as const;
export type KvmCheckLevel = (typeof KvmCheckLevel)[keyof typeof KvmCheckLevel];

/** What sandboxes may reach: nothing, the public internet, or private networks too. */
export const EgressLevel = { None: "none", Public: "public", All: "all" } as const;
export type EgressLevel = (typeof EgressLevel)[keyof typeof EgressLevel];

/** Processor of a host; `auto` asks its engine. */
export const Architecture = { Auto: "auto", Amd64: "amd64", Arm64: "arm64" } as const;
export type Architecture = (typeof Architecture)[keyof typeof Architecture];

/** Whose engine makes the server's image: this machine's, which sends it, or the host's own. */
export const ImageEngine = { Auto: "auto", Here: "here", Host: "host" } as const;
export type ImageEngine = (typeof ImageEngine)[keyof typeof ImageEngine];
