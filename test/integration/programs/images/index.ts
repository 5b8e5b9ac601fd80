import { SandboxImage } from "../../../../components/sandbox-image";

/** One image for each architecture, as a library user would declare them; both in one tag of a registry. */
const image = (architecture: "amd64" | "arm64") =>
  new SandboxImage(`image-${architecture}`, {
    baseName: "microsandbox-test-images",
    architecture,
    version: "0.7.11",
    debianVersion: "13.2-slim",
    registry: { address: `${process.env.TEST_REGISTRY}/team` },
  });

export const references = [image("amd64").reference, image("arm64").reference];
