import { GuestFiles } from "./guest-files";

/**
 * Gives a running guest another host name, as if it had booted with it: the kernel's, and what /etc/hosts and
 * /etc/hostname say. Until the next boot.
 * @throws ServiceError conflict where it does not run, runtimeFailed
 */
export async function setHostName(
  guest: { home: string; handle: string },
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  if (from === to) return;
  await GuestFiles.use(guest, signal, async (files) => {
    await files.write("/proc/sys/kernel/hostname", to, { truncate: false });
    const word = new RegExp(`(?<=^|\\s)${from}(?=\\s|$)`, "g");
    for (const path of ["/etc/hosts", "/etc/hostname"]) {
      // An image need not have it.
      const text = await files.read(path).catch(() => undefined);
      if (text?.match(word))
        await files.write(
          path,
          text.replace(word, () => to),
        );
    }
  });
}
