import { stat } from "node:fs/promises";
import { mirrored, parseReference } from "./image-reference";
import { type KeptSettings, keptFile, nothingKept, readKept } from "./registry-settings";

/** The stack's settings of registries, read again when their file is another one. */
export class RegistryRules {
  private settings: KeptSettings = nothingKept;
  private seen = "";

  constructor(private readonly home: string) {}

  async current(): Promise<KeptSettings> {
    const found = await stat(keptFile(this.home)).catch(() => undefined);
    const seen = found ? `${found.ino} ${found.mtimeMs} ${found.size}` : "";
    if (seen === this.seen) return this.settings;
    this.settings = await readKept(this.home);
    this.seen = seen;
    return this.settings;
  }

  /** The names under which msb may have an image: its own, then the mirror's. As the settings were when last read. */
  namesOf(reference: string): string[] {
    const other = mirrored(reference, this.settings.mirrors);
    return other === undefined ? [reference] : [reference, other];
  }

  /** Whether msb would show a login of the stack's to get an image. */
  hasLogin = (reference: string): boolean =>
    this.settings.logins.includes(parseReference(reference).registry);
}
