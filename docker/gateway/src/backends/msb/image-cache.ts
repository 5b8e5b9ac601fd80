import { join } from "node:path";
import type { DiskReserve } from "../../limits/disk-reserve";
import { within } from "../../within";
import { type Msb, MsbError } from "./command-line";
import { ImageNotCached } from "./error-sentences";
import { ImageAccess } from "./image-access";
import { ImageCatalog } from "./image-catalog";
import { cacheBytes, type PruneOptions, type PruneReport, pruneImages } from "./image-prune";
import { ImagePulls, type PullLogin } from "./image-pulls";
import { canonical } from "./image-reference";
import { ImageRoom } from "./image-room";
import { ImageUses } from "./image-uses";
import { notHere } from "./pull-errors";
import { PullProxy } from "./pull-proxy";
import type { RegistryRules } from "./registry-rules";
import { isStarter } from "./starter-image";

/** What a create needs of an image. */
export type ImageRequest = {
  /** The client's name of it. */
  reference: string;
  pullPolicy: "if_missing" | "always" | "never";
  /** Id of the key that asks. */
  owner: string;
  /** Credentials sent with the request. */
  login?: { username: string; password: string };
  /** The stack's own credentials must not serve the pull. */
  anonymous?: boolean;
  /** Whether this server pulls images that are not cached. */
  autoPull: boolean;
  /** Ends the waiting, and the pull where nobody else waits for it. */
  signal?: AbortSignal;
  /** When the waiting ends, in milliseconds since the epoch. */
  deadlineMs: number;
};

/** What msb is to be asked for; it needs no registry any more. */
export type ReadyImage = {
  reference: string;
  /** Of its manifest. */
  digest: string;
  /** To be called when the image is really used, which may be much later. @throws ImageNotCached if it is another's now */
  recheck: () => void;
};

export type ImageCacheOptions = {
  /** msb's home. */
  home: string;
  msb: Msb;
  rules: RegistryRules;
  /** References that sandboxes not made yet will start from. */
  wanted: () => Iterable<string>;
  /** References that are never removed. */
  kept: () => Promise<string[]>;
  /** Bytes that the cache may take before a pull. */
  maxBytes: number;
  /** The disk of msb's home. */
  disk: DiskReserve;
  /** Public ranges that no pull reaches, unless the settings of registries name what is there. */
  closedRanges: () => string[];
};

/** An answer of msb's that old will do before a pull. */
const RECENT_MS = 2_000;
/** How long the end of the server waits for msb's list of images. */
const CLOSE_WAIT_MS = 2_000;

/**
 * msb's image cache as the gateway uses it: brings images in, knows who may use them, who starts from them, and since
 * when nobody does. An image is never removed while a start works with it, and a start waits for the end of a removal.
 */
export class ImageCache {
  private readonly catalog: ImageCatalog;
  private readonly pulls: ImagePulls;
  private readonly room: ImageRoom;
  private readonly removals = new Map<string, Promise<unknown>>();

  private constructor(
    private readonly options: ImageCacheOptions,
    private readonly access: ImageAccess,
    private readonly uses: ImageUses,
    private readonly proxy: PullProxy,
  ) {
    const { home, msb, rules, disk, maxBytes } = options;
    this.catalog = new ImageCatalog(() => msb.images());
    this.pulls = new ImagePulls(msb, { home, temporary: join(home, "gateway", "tmp"), rules, proxy, disk });
    const prune = (limits: PruneOptions) => this.prune(limits);
    this.room = new ImageRoom({ maxBytes, measure: () => cacheBytes(home), prune });
  }

  static async open(options: ImageCacheOptions): Promise<ImageCache> {
    const state = join(options.home, "gateway");
    const cache = new ImageCache(
      options,
      await ImageAccess.open(join(state, "image-access.json")),
      await ImageUses.open(join(state, "image-uses.json")),
      await PullProxy.open({ closedRanges: options.closedRanges }),
    );
    // An msb that does not answer now is asked again by the first create.
    cache.catalog.refresh().catch(() => undefined);
    return cache;
  }

  /**
   * Brings an image into the cache, unless it is there and the owner may use it; then no process is started.
   * @throws ServiceError invalidSpec where it is not to be had, runtimeFailed where its registry fails, diskFull,
   *   timeout; the signal's reason
   */
  async prepare(request: ImageRequest): Promise<ReadyImage> {
    const { reference, pullPolicy, autoPull, login } = request;
    request.signal?.throwIfAborted();
    await this.options.rules.current();
    // A request's credentials are for the registry that it names.
    const names = login ? [reference] : this.options.rules.namesOf(reference);
    if (pullPolicy !== "always") {
      const found = this.usable(names, request.owner);
      if (found !== undefined) {
        this.catalog.refreshIfStale();
        return this.ready(found, request);
      }
    }
    if (pullPolicy === "always" || !names.some(this.catalog.has)) {
      await this.catalog.refresh(RECENT_MS);
      const found = pullPolicy === "always" && autoPull ? undefined : this.usable(names, request.owner);
      if (found !== undefined) return this.ready(found, request);
    }
    if (!autoPull || pullPolicy === "never") throw notHere(reference);
    const from = names.at(-1) ?? reference;
    // What is refused by its name makes no work.
    this.options.rules.reachOf(from);
    await this.room.make();
    await this.use(from, () => this.pull(from, request));
    return this.ready(from, request);
  }

  private ready(reference: string, { owner }: ImageRequest): ReadyImage {
    const recheck = () => {
      if (this.usable([reference], owner) === undefined)
        throw new ImageNotCached(`the image ${reference} has changed meanwhile`);
    };
    return { reference, digest: this.catalog.get(reference)?.digest ?? "", recheck };
  }

  /** Prepares an image and works with it, which stays meanwhile. What msb has lost since is prepared once more. */
  async withImage<T>(request: ImageRequest, work: (image: ReadyImage) => Promise<T>): Promise<T> {
    const image = await this.prepare(request);
    try {
      return await this.use(image.reference, () => work(image));
    } catch (error) {
      if (!(error instanceof ImageNotCached)) throw error;
      this.catalog.forget(image.reference);
      const again = await this.prepare(request);
      return await this.use(again.reference, () => work(again));
    }
  }

  /** Works with an image, which stays meanwhile. */
  async use<T>(reference: string, work: () => Promise<T>): Promise<T> {
    const image = canonical(reference);
    while (this.removals.has(image)) await this.removals.get(image);
    return this.uses.during(reference, work);
  }

  /** Removes images that no sandbox uses and no setting names, those first that nobody asked for the longest. */
  async prune(options: PruneOptions, now = Date.now()): Promise<PruneReport> {
    await this.pulls.removeUnfinished();
    await this.catalog.refresh();
    const images = this.catalog.all().map(({ reference, created_at }) => ({
      reference,
      usedAt: Math.max(Date.parse(created_at), this.uses.lastOf(reference)),
    }));
    const kept = await this.kept();
    const remove = async (reference: string) =>
      kept.has(canonical(reference)) ? "the setting images names it" : this.remove(reference);
    return pruneImages(this.options.home, images, remove, options, now);
  }

  /** Writes down what was used, for the next process; a crash makes an image look older than it is. */
  async flush(): Promise<void> {
    await this.forgetRemoved();
    await this.uses.save();
  }

  /** Ends what pulls still have open, and writes down what was used; an msb that hangs is not waited for. */
  async close(): Promise<void> {
    this.proxy.close();
    await within(this.forgetRemoved(), CLOSE_WAIT_MS).catch(() => false);
    await this.uses.save();
  }

  /** Canonical names of what no prune removes. */
  private async kept(): Promise<Set<string>> {
    const { rules, kept } = this.options;
    await rules.current();
    return new Set((await kept()).flatMap((name) => rules.namesOf(name)).map(canonical));
  }

  private usable(names: string[], owner: string): string | undefined {
    return names.find((name) => {
      const image = this.catalog.get(name);
      return image !== undefined && this.access.mayUse(owner, name, image.digest);
    });
  }

  private async pull(reference: string, request: ImageRequest): Promise<void> {
    const { owner, signal, deadlineMs, pullPolicy, anonymous } = request;
    const login: PullLogin | undefined = request.login ?? (anonymous ? "none" : undefined);
    // Where the image may not be for all, its cached copy proves nothing.
    const force = pullPolicy === "always" || request.login !== undefined || this.access.isNoted(reference);
    const pull = () => this.pulls.pull({ reference, force, login, owner, signal, deadlineMs });
    const digest = () => this.catalog.get(reference)?.digest;
    if (request.login === undefined) {
      await pull();
      if (!force) return void (await this.catalog.refresh().catch(() => undefined));
      await this.catalog.refresh();
      return this.access.open(reference, digest());
    }
    let provedBy: string | undefined;
    try {
      await this.access.beforePull(reference, digest());
      await pull();
      provedBy = owner;
    } finally {
      await this.catalog.refresh().finally(() => this.access.afterPull(reference, digest(), provedBy));
    }
  }

  /** Undefined when the image is gone, else why it stays. */
  private async remove(reference: string): Promise<string | undefined> {
    const image = canonical(reference);
    // No await before the removal is noted: what starts from now on waits for it.
    if (isStarter(reference)) return "it is the built-in image";
    if (this.uses.isUsed(image)) return "a sandbox is starting from it";
    for (const each of this.options.wanted())
      if (canonical(each) === image) return "a sandbox is to start from it";
    const removal = this.options.msb.ok(["image", "rm", "--", reference], { owner: null });
    const done = removal.catch(() => undefined);
    this.removals.set(image, done);
    try {
      await removal;
      this.catalog.forget(reference);
      this.uses.forget(image);
      return undefined;
    } catch (error) {
      return error instanceof MsbError
        ? error.about({ what: "image", name: reference }).message
        : String(error);
    } finally {
      this.removals.delete(image);
    }
  }

  /** What is noted of images ends with them; only what msb says just now counts. */
  private async forgetRemoved(): Promise<void> {
    const isGone = (image: string) => !this.catalog.has(image) && !this.uses.isUsed(image);
    if (![...this.uses.noted(), ...this.access.noted()].some(isGone)) return;
    await this.catalog.refresh();
    for (const image of this.uses.noted().filter(isGone)) this.uses.forget(image);
    await this.access.drop(this.access.noted().filter(isGone));
  }
}
