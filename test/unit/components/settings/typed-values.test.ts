import { describe, expect, it } from "vitest";
import { checkSettings } from "../../../../components/settings/checks";

describe("17: what `config set --path` has stored as a number or a truth value", () => {
  it("is the text that was typed", () => {
    const { settings, errors } = checkSettings({
      volumes: { state: 2024 },
      registries: { logins: { "registry.test": { username: 12345678, password: true } } },
    });
    expect(errors).toEqual([]);
    expect(settings?.volumes.state).toBe("2024");
    expect(settings?.registries.logins["registry.test"]).toEqual({ username: "12345678", password: "true" });
  });

  it("is refused where digits are lost", () => {
    const logins = { "registry.test": { username: 2 ** 60, password: "x" } };
    expect(checkSettings({ registries: { logins } }).errors).toHaveLength(1);
  });
});

it("11: an image that is named twice is an error, which the line to type fixes", () => {
  const { errors } = checkSettings({ images: ["alpine:3.22", "debian:13", "alpine:3.22"] });
  expect(errors).toMatchObject([
    { key: "images.2", fix: [{ key: "images", value: '["alpine:3.22","debian:13"]' }] },
  ]);
});
