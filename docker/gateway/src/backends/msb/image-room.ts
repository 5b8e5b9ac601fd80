import { ServiceError } from "../../errors";
import { GIB } from "../../sandboxes/volume-files";
import { SharedRead } from "../../shared-read";
import type { PruneOptions, PruneReport } from "./image-prune";

export type ImageRoomOptions = {
  /** Bytes that images may take before a pull. */
  maxBytes: number;
  /** Bytes that they take now. */
  measure: () => Promise<number>;
  prune: (options: PruneOptions) => Promise<PruneReport>;
};

/** How old what is known may be, in milliseconds: longer where it took long, so that it is seldom asked for. */
const LEAST_AGE_MS = 1_000;
const MOST_AGE_MS = 10_000;
const TIMES_ITS_DURATION = 10;

/**
 * The room for images on the disk. What it takes to find out, and to make room, grows with the images that are there, so
 * it is done once for all pulls that ask meanwhile or soon after. What arrives until then may go beyond the room.
 */
export class ImageRoom {
  private bytes = 0;
  private readonly state: SharedRead;

  constructor(private readonly options: ImageRoomOptions) {
    this.state = new SharedRead(() => this.look());
  }

  /** Before a pull, images go where they take more than they may. @throws ServiceError noCapacity */
  async make(): Promise<void> {
    const age = Math.max(LEAST_AGE_MS, TIMES_ITS_DURATION * this.state.tookMs);
    await this.state.refresh(Math.min(age, MOST_AGE_MS));
    const { maxBytes } = this.options;
    if (this.bytes <= maxBytes) return;
    const [taken, allowed] = [this.bytes, maxBytes].map((size) => (size / GIB).toFixed(1));
    throw new ServiceError(
      "noCapacity",
      `images take ${taken} GiB, ${allowed} GiB are allowed, and all are in use by sandboxes or named by the setting images; remove some sandboxes`,
    );
  }

  private async look(): Promise<void> {
    const { maxBytes, measure, prune } = this.options;
    this.bytes = await measure();
    if (this.bytes > maxBytes) this.bytes = (await prune({ olderThanSeconds: 0, maxBytes })).bytes;
  }
}
