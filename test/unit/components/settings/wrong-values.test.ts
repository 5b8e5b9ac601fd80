import { expect, test } from "vitest";
import { testCertificate } from "../../../harness/certificate";
import { messageFor } from "./message-for";

/** What is given, and the whole message but its first lines. */
const wrong: [Record<string, unknown>, string][] = [
  [
    { version: "v0.7.11" },
    [
      '  microsandbox:version is "v0.7.11"',
      "    accepted: a version like 0.7.11",
      "    fix:      pulumi config set microsandbox:version 0.7.11",
    ].join("\n"),
  ],
  [
    // No hash is known of what is the latest some day.
    { version: "latest" },
    [
      '  microsandbox:version is "latest"',
      "    accepted: a version like 0.7.11",
      "    fix:      pulumi config set microsandbox:version 0.7.11",
    ].join("\n"),
  ],
  [
    { registryPrefix: "https://registry.example.com" },
    [
      '  microsandbox:registryPrefix is "https://registry.example.com"',
      "    accepted: nothing, or a registry (and path) that ends in /",
      "    fix:      pulumi config set microsandbox:registryPrefix registry.example.com/",
    ].join("\n"),
  ],
  [
    { hostPort: "99999" },
    [
      '  microsandbox:hostPort is "99999"',
      "    accepted: a TCP port, a whole number from 1 to 65535",
      "    fix:      pulumi config set microsandbox:hostPort 5555",
    ].join("\n"),
  ],
  [
    { memoryLimit: "4X" },
    [
      '  microsandbox:memoryLimit is "4X" (not a size)',
      "    accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g",
      "    fix:      pulumi config set microsandbox:memoryLimit 4G",
    ].join("\n"),
  ],
  [
    { memoryLimit: "4" },
    [
      '  microsandbox:memoryLimit is "4" (4 bytes is too little)',
      "    accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g",
      "    fix:      pulumi config set microsandbox:memoryLimit 4G",
    ].join("\n"),
  ],
  [
    { cpuLimit: "0" },
    [
      '  microsandbox:cpuLimit is "0"',
      "    accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5",
      "    fix:      pulumi config set microsandbox:cpuLimit 4",
    ].join("\n"),
  ],
  [
    { cpuReservation: "8" },
    [
      "  microsandbox:cpuReservation is 8, more than cpuLimit, which is 4",
      "    accepted: at most 4, or a higher cpuLimit",
      "    fix:      pulumi config set microsandbox:cpuReservation 4",
    ].join("\n"),
  ],
  [
    { memoryReservation: "6G" },
    [
      "  microsandbox:memoryReservation is 6G, more than memoryLimit, which is 4G",
      "    accepted: at most 4G, or a higher memoryLimit",
      "    fix:      pulumi config set microsandbox:memoryReservation 4G",
    ].join("\n"),
  ],
  [
    { host: "root@10.1.2.3" },
    [
      '  microsandbox:host is "root@10.1.2.3"',
      "    accepted: local, emulated or ssh://user@address[:port]",
      "    fix:      pulumi config set microsandbox:host ssh://root@10.1.2.3",
    ].join("\n"),
  ],
  [
    { host: "emulated", memoryLimit: "8G" },
    [
      "  microsandbox:emulatedMemory is 6G, less than memoryLimit, which is 8G",
      "    accepted: at least 8G, or a lower memoryLimit",
      "    fix:      pulumi config set microsandbox:emulatedMemory 8G",
    ].join("\n"),
  ],
  [
    { host: "emulated", bindAddress: "0:0::1" },
    [
      "  microsandbox:bindAddress is ::1, but an emulated host is reached by IPv4 only",
      "    accepted: an IPv4 address for an emulated host, like 127.0.0.1",
      "    fix:      pulumi config set microsandbox:bindAddress 127.0.0.1",
    ].join("\n"),
  ],
  [
    { host: "emulated", memoryLimit: "4G", hostPort: 22 },
    [
      "  microsandbox:hostPort is 22, which is the port of an emulated host's own SSH server",
      "    accepted: another port for an emulated host, like 5555",
      "    fix:      pulumi config set microsandbox:hostPort 5555",
    ].join("\n"),
  ],
  [
    { memoryLimit: "2G", memoryReservation: "1G", limits: { memoryMiB: 2049 } },
    [
      "  microsandbox:limits.memoryMiB is 2049, more than memoryLimit, which is 2G",
      "    accepted: at most 2048, or a higher memoryLimit; without a value it follows memoryLimit",
      "    fix:      pulumi config rm --path microsandbox:limits.memoryMiB",
    ].join("\n"),
  ],
  [
    {
      ...{ memoryLimit: "4G", memoryReservation: "1G" },
      warm: [
        { image: "starter", count: 1 },
        { image: "alpine:3.22", count: 8, memoryMiB: 1500 },
        { image: "debian:13", count: 1, memoryMiB: 1024 },
      ],
    },
    [
      "  microsandbox:warm needs 13536 MiB, more than memoryLimit allows: 4096",
      "    accepted: at most 4096 MiB in all, or a higher memoryLimit",
      "    fix:      pulumi config rm microsandbox:warm && " +
        [
          ...["'microsandbox:warm[0].image' starter", "'microsandbox:warm[0].count' 1"],
          ...["'microsandbox:warm[0].cpus' 1", "'microsandbox:warm[0].memoryMiB' 512"],
          ...["'microsandbox:warm[1].image' alpine:3.22", "'microsandbox:warm[1].count' 2"],
          ...["'microsandbox:warm[1].cpus' 1", "'microsandbox:warm[1].memoryMiB' 1500"],
        ]
          .map((line) => `pulumi config set --path ${line}`)
          .join(" && "),
    ].join("\n"),
  ],
  [
    { limits: { cpus: 1 }, warm: [{ image: "starter", count: 1, cpus: 2 }] },
    [
      "  microsandbox:warm needs 2 CPUs, more than limits.cpus allows: 1",
      "    accepted: at most 1 CPUs in all, or a higher limits.cpus",
      "    fix:      pulumi config rm microsandbox:warm",
    ].join("\n"),
  ],
  [
    { bindAddress: "0.0.0.0" },
    [
      "  microsandbox:bindAddress is 0.0.0.0 in dev mode: anyone who reaches it could run code without an API key",
      "    accepted: 127.0.0.1 in dev mode; any address with devMode false, or with exposeDevMode true",
      "    fix:      pulumi config set microsandbox:bindAddress 127.0.0.1",
    ].join("\n"),
  ],
  [
    { devMode: "false", bindAddress: "0.0.0.0" },
    [
      "  microsandbox:bindAddress is 0.0.0.0 without TLS: API keys and data could be read in transit",
      "    accepted: 127.0.0.1 without TLS; any address with tls.generate true, with a certificate in tls, or with exposeHttp true",
      "    fix:      pulumi config set --path microsandbox:tls.generate true",
    ].join("\n"),
  ],
  [
    { tls: { certificate: testCertificate } },
    [
      "  microsandbox:tls has a certificate without a key, or a key without a certificate",
      "    accepted: generate true alone, or a certificate with its key, each as text or as a file",
      "    fix:      pulumi config set --path microsandbox:tls.keyFile",
    ].join("\n"),
  ],
  [
    { timezone: "Europe/Berln" },
    [
      '  microsandbox:timezone is "Europe/Berln"',
      "    accepted: a name of the IANA time zone database, like UTC or Europe/Berlin",
      "    fix:      pulumi config set microsandbox:timezone Europe/Berlin",
    ].join("\n"),
  ],
  [
    { architecture: "x86_64" },
    [
      '  microsandbox:architecture is "x86_64"',
      "    accepted: auto, amd64 or arm64",
      "    fix:      pulumi config set microsandbox:architecture amd64",
    ].join("\n"),
  ],
  [
    { images: "alpine" },
    [
      '  microsandbox:images is "alpine"',
      '    accepted: a list of image references, like ["alpine:3.22"]',
      "    fix:      pulumi config rm microsandbox:images && pulumi config set --path 'microsandbox:images[0]' alpine",
    ].join("\n"),
  ],
  [
    { images: '["alpine","-v"]' },
    [
      '  microsandbox:images.1 is "-v"',
      '    accepted: a list of image references, like ["alpine:3.22"]',
      "    fix:      pulumi config rm microsandbox:images && pulumi config set --path 'microsandbox:images[0]' alpine",
    ].join("\n"),
  ],
  [
    { volumes: '{"stat":"msb","keep":"maybe"}' },
    [
      '  microsandbox:volumes.keep is "maybe"',
      "    accepted: true or false",
      "    fix:      pulumi config rm microsandbox:volumes && pulumi config set --path microsandbox:volumes.state msb",
      "",
      "  microsandbox:volumes.stat is not a setting",
      "    accepted: state (the closest name)",
      "    fix:      pulumi config rm microsandbox:volumes && pulumi config set --path microsandbox:volumes.state msb",
    ].join("\n"),
  ],
  [
    { volumes: { state: "data", workspace: "data" } },
    [
      '  microsandbox:volumes.workspace is "data", the same as volumes.state',
      "    accepted: another volume, or no value for the default name",
      "    fix:      pulumi config rm --path microsandbox:volumes.workspace",
    ].join("\n"),
  ],
  [
    { registry: "https://registry.example.com/" },
    [
      '  microsandbox:registry is "https://registry.example.com/"',
      "    accepted: a registry with or without a path, like registry.example.com/team",
      "    fix:      pulumi config set microsandbox:registry registry.example.com",
    ].join("\n"),
  ],
  [
    { registry: "registry.example.com", registryUser: "me" },
    [
      "  microsandbox:registryPassword is missing",
      "    accepted: registryUser and registryPassword together, with registry or serverImage",
      "    fix:      pulumi config set --secret microsandbox:registryPassword",
    ].join("\n"),
  ],
  [
    { kvmCheck: "true" },
    [
      '  microsandbox:kvmCheck is "true"',
      "    accepted: off, device or boot",
      "    fix:      pulumi config set microsandbox:kvmCheck device",
    ].join("\n"),
  ],
  [
    { memoryLmit: "8G" },
    [
      "  microsandbox:memoryLmit is not a setting",
      "    accepted: memoryLimit (the closest name)",
      "    fix:      pulumi config set microsandbox:memoryLimit 8G && pulumi config rm microsandbox:memoryLmit",
    ].join("\n"),
  ],
  [
    { devMode: "no", logMaxSize: "100MB" },
    [
      '  microsandbox:devMode is "no"',
      "    accepted: true or false",
      "    fix:      pulumi config set microsandbox:devMode false",
      "",
      '  microsandbox:logMaxSize is "100MB"',
      "    accepted: a whole number with k, m or g, like 100m",
      "    fix:      pulumi config set microsandbox:logMaxSize 100m",
    ].join("\n"),
  ],
];

test.each(wrong)("%j", (given, blocks) => {
  expect(messageFor(given).split("\n\n").slice(1).join("\n\n").trimEnd()).toBe(blocks);
});
