/** Bytes that each new file or folder takes of a disk. */
export const BLOCK_BYTES = 4096;

/** Takes what is about to be written. @throws ServiceError noCapacity */
export type TakeBytes = (bytes: number) => Promise<void>;

/** Counts what is written into one volume against what its owner may have. */
export type ByteQuota = {
  /** Does work that writes. What it took counts from then on, or no more where it fails. */
  whileWriting: <T>(work: (take: TakeBytes) => Promise<T>) => Promise<T>;
  /** Something was removed or replaced. */
  freed: () => void;
};

/** Of the volume that all share: nobody's, and limited by the disk alone. */
export const NO_QUOTA: ByteQuota = {
  whileWriting: (work) => work(async () => undefined),
  freed: () => undefined,
};
