/** A change of a resource's args before it is created: fields that replace its own, or a function of all of them. */
export type Transform<Args> = Partial<Args> | ((args: Args) => Args);

/** The args, changed. */
export function transformed<Args extends object>(args: Args, transform: Transform<Args> | undefined): Args {
  return typeof transform === "function" ? transform(args) : { ...args, ...transform };
}
