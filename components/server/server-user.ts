import type { PreflightReport } from "../host/preflight-report";
import { VisibleError } from "../settings/visible-error";

/** Uid and gid of the server where it is not root; docker/build/make-rootfs.sh names them. */
export const serverUser = 5555;

/**
 * The group that an unprivileged user needs for the host's /dev/kvm; undefined where everybody may use it, or where
 * there is none (which the KVM check has to say).
 *
 * @throws VisibleError where only root may use it
 */
export function kvmGroup({
  kvmGid,
  kvmMode,
}: Pick<PreflightReport, "kvmGid" | "kvmMode">): number | undefined {
  if (kvmGid === null) return undefined;
  const readsAndWrites = (digit: string | undefined) => (Number(digit) & 6) === 6;
  if (readsAndWrites(kvmMode.at(-1))) return undefined;
  if (readsAndWrites(kvmMode.at(-2)) && kvmGid !== 0) return kvmGid;
  throw new VisibleError(
    `On the host /dev/kvm has mode ${kvmMode} and group id ${kvmGid}: only root may use it, and with privileged false ` +
      "the server is not root.\n" +
      "  fix, on the host:     sudo groupadd --force --system kvm && sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm\n" +
      '  to make it permanent: echo \'KERNEL=="kvm", GROUP="kvm", MODE="0660"\' | sudo tee /etc/udev/rules.d/65-kvm.rules',
  );
}
