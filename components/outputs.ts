/** What a service tells programs in other languages, and its own stack: no resources, which each language has types of. */
export const outputs = [
  "endpoint",
  "environment",
  "apiKey",
  "server",
  "caCertificate",
  "kvm",
  "guestKernel",
] as const;
