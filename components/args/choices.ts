/** What every `up` checks on the host: nothing, /dev/kvm, or also that one microVM boots. */
export const KvmCheckLevel = { Off: "off", Device: "device", Boot: "boot" } as const;
export type KvmCheckLevel = (typeof KvmCheckLevel)[keyof typeof KvmCheckLevel];

/** Network access of sandboxes: none, the public internet, or private networks too. */
export const EgressLevel = { None: "none", Public: "public", All: "all" } as const;
export type EgressLevel = (typeof EgressLevel)[keyof typeof EgressLevel];

/** Architecture of a host; `auto` asks its engine. */
export const Architecture = { Auto: "auto", Amd64: "amd64", Arm64: "arm64" } as const;
export type Architecture = (typeof Architecture)[keyof typeof Architecture];

/** Docker engine that builds or pulls the server image: this machine's, which then sends it, or the host's. */
export const ImageEngine = { Auto: "auto", Local: "local", Host: "host" } as const;
export type ImageEngine = (typeof ImageEngine)[keyof typeof ImageEngine];
