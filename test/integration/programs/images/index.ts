import type * as pulumi from "@pulumi/pulumi";
import { SandboxImage } from "../../../../components/image/sandbox-image";

/** One image for each architecture, as a library user would declare them; both in one tag of a registry. */
const image = (architecture: "amd64" | "arm64") =>
  new SandboxImage(`image-${architecture}`, {
    baseName: "microsandbox-test-images",
    architecture,
    version: process.env.TEST_VERSION ?? "0.7.11",
    debianVersion: "13.2-slim",
    registry: { repository: `${process.env.TEST_REGISTRY}/team/microsandbox-test-images` },
  });

const amd64 = image("amd64");
export const references = [amd64.reference, image("arm64").reference];

/** Has the engine build every stage, whatever it has in its cache, from another folder of the same content. */
const withoutCache: pulumi.ResourceTransform = ({ type, props, opts }) => {
  if (type !== "docker:index/remoteImage:RemoteImage") return undefined;
  const { TEST_CONTEXT: context = props.build.context } = process.env;
  return { props: { ...props, build: { ...props.build, context, noCache: true } }, opts };
};

/** The image for amd64 built again, one after the other: builds of the same that run side by side are one build. */
let before = amd64.reference;
export const again = Array.from({ length: Number(process.env.TEST_BUILDS_AGAIN ?? 0) }, (_, index) => {
  const made = new SandboxImage(
    `again-${index}`,
    {
      ...{ baseName: `microsandbox-test-again-${index}`, architecture: "amd64", debianVersion: "13.2-slim" },
      version: before.apply(() => "0.7.11"),
    },
    { transforms: [withoutCache] },
  );
  before = made.reference;
  return made.reference;
});
