import { describe, expect, it } from "vitest";
import { kvmGroup } from "../../../../components/server/server-user";

describe("the group that a server needs which is not root", () => {
  it.each([
    ["none where everybody may", 104, "666", undefined],
    ["the device's, as udev leaves it", 104, "660", 104],
    ["none where there is no device", null, "", undefined],
  ])("%s", (_what, kvmGid, kvmMode, expected) => {
    expect(kvmGroup({ kvmGid, kvmMode })).toBe(expected);
  });

  it.each([
    ["root alone", 0, "600"],
    ["root's group", 0, "660"],
    ["a group that may only read", 104, "640"],
  ])("refuses a device of %s, and says what to type", (_what, kvmGid, kvmMode) => {
    expect(() => kvmGroup({ kvmGid, kvmMode })).toThrow(
      /sudo chgrp kvm \/dev\/kvm && sudo chmod 660 \/dev\/kvm/,
    );
  });
});
