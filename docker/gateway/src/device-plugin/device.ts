import { closeSync, constants, openSync, statSync } from "node:fs";

/** The kernel's own entry: there as long as a driver offers the device. Every container can see it. */
const KERNEL_ENTRY = "/sys/class/misc/kvm";

/** Errors of open() that tell of this process, not of the device. The first is what a container gets that was not given it. */
const CANT_TELL = new Set(["EPERM", "EACCES", "EMFILE", "ENFILE", "ENOMEM"]);

/** What is seen of a device. Codes are those of errors, undefined for none. */
export type Sight = {
  /** Undefined where no path is looked at. */
  node?: {
    statCode?: string;
    isCharacterDevice: boolean;
    /** It was removed from its folder: what a mount of a single file still shows. */
    isUnlinked: boolean;
    openCode?: string;
  };
  /** Which entry the kernel has now, and had when this process started: a driver that is loaded again has another. */
  kernel?: string;
  kernelAtStart?: string;
};

/** Why guests can't have a device; undefined if they can. */
export function whyUnusable({ node, kernel, kernelAtStart }: Sight): string | undefined {
  const noDriver = kernel === undefined ? "no driver of the kernel offers it" : undefined;
  if (node === undefined) return noDriver;
  if (node.statCode !== undefined) return `it is not there (${node.statCode})`;
  if (!node.isCharacterDevice) return "it is not a device";
  // The driver was unloaded and loaded again: the node has a new file, which this process can't see.
  if (node.isUnlinked) return noDriver ?? (kernel === kernelAtStart ? "it was removed" : undefined);
  if (node.openCode === undefined) return undefined;
  return CANT_TELL.has(node.openCode) ? noDriver : `it can't be opened (${node.openCode})`;
}

/** A device that is looked at again and again. */
export class DeviceFile {
  private readonly kernelAtStart: string | undefined;

  /** @param path "" for what the kernel says alone */
  constructor(
    private readonly path: string,
    private readonly kernelEntry = KERNEL_ENTRY,
  ) {
    this.kernelAtStart = identity(kernelEntry);
  }

  /** Why guests can't have it now; undefined if they can. */
  whyUnusable(): string | undefined {
    const { path, kernelAtStart } = this;
    return whyUnusable({
      node: path === "" ? undefined : look(path),
      kernel: identity(this.kernelEntry),
      kernelAtStart,
    });
  }
}

function look(path: string): Sight["node"] {
  try {
    const stat = statSync(path);
    const node = { isCharacterDevice: stat.isCharacterDevice(), isUnlinked: stat.nlink === 0 };
    return { ...node, openCode: node.isCharacterDevice ? codeOf(() => open(path)) : undefined };
  } catch (error) {
    return { statCode: code(error), isCharacterDevice: false, isUnlinked: false };
  }
}

const open = (path: string): void =>
  closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY));

function codeOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return code(error);
  }
}

const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

/** sysfs gives a number once. */
const identity = (entry: string): string | undefined =>
  statSync(entry, { throwIfNoEntry: false, bigint: true })?.ino.toString();
