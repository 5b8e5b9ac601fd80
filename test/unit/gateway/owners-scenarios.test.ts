import { expect, test } from "vitest";
import { create, twoOwners } from "./two-owners";

/** The ways from one key to another's things that the review of the server at 659e3d2 found. */

test("S3: an image pulled with one key's login runs for another only after a pull of its own", async () => {
  const { ann, bob } = await twoOwners();
  const image = { reference: "private/secret:1" };
  const registry = { mode: "inline", username: "me", password: "right" };
  expect((await create(ann, "build", { ...image, registry })).status).toBe(200);
  const [cached, never] = [
    await create(bob, "theft", image),
    await create(bob, "theft", { reference: "private/never:1" }),
  ];
  expect(cached.status).toBe(400);
  // Whether somebody has pulled it is not told either.
  expect(JSON.stringify(cached.body)).toBe(
    JSON.stringify(never.body).replaceAll("private/never", "private/secret"),
  );
  expect((await create(bob, "own", { ...image, registry })).status).toBe(200);
});
