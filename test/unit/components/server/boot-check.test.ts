import { expect, it } from "vitest";
import { Microsandbox } from "../../../../components/microsandbox";
import { type FakeHost, healthyHost, registered } from "../../../harness/pulumi-mocks";

async function triggers(details: object = {}): Promise<unknown> {
  const kvm = { ...healthyHost.kvm, details: { ...(healthyHost.kvm.details as object), ...details } };
  const host: FakeHost = { ...healthyHost, kvm };
  const resources = await registered(() => new Microsandbox("sandboxes", { kvmCheck: "boot" }), host);
  return resources.find(({ name }) => name === "sandboxes-boot-guest")?.inputs.triggers;
}

it("a microVM boots again where the host's kernel or its KVM is another, and not where nothing has changed", async () => {
  const before = await triggers();
  expect(before).toHaveLength(2);
  expect(await triggers()).toEqual(before);
  for (const change of [{ kernel: "6.12.0" }, { module: "kvm_amd" }, { nested: true }, { cpuFlag: null }])
    expect(await triggers(change)).not.toEqual(before);
});
