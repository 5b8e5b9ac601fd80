import { expect, it } from "vitest";
import { deployLine } from "../../../../cli/commands/image";

it("the line that deploys a pushed image sets its version too, where it is not the default", () => {
  const image = "r.test/server@sha256:1";
  const line = `npm run pulumi -- config set microsandbox:serverImage ${image}`;
  expect(deployLine(image, undefined)).toBe(line);
  expect(deployLine(image, "0.7.10")).toBe(
    `${line} && npm run pulumi -- config set microsandbox:version 0.7.10`,
  );
});
