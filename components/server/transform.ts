import * as pulumi from "@pulumi/pulumi";

/**
 * A change of a resource's args before it is created: fields that replace its own, or a function of all of them. What the
 * stack finds its own resources by stays: names, the image, labels, and the mounts of the server's volumes. Other labels
 * and mounts are added to them.
 */
export type Transform<Args> = Partial<Args> | ((args: Args) => Args);

/** What no transform changes: whole fields, and in lists the entries of ours, by the field that tells one from another. */
export interface Kept<Args> {
  fields: (keyof Args)[];
  lists: { [list in keyof Args]?: string };
}

/** The args, changed. */
export function transformed<Args extends object>(
  args: Args,
  transform: Transform<Args> | undefined,
  { fields, lists }: Kept<Args>,
): Args {
  if (transform === undefined) return args;
  const changed = typeof transform === "function" ? { ...transform({ ...args }) } : { ...args, ...transform };
  for (const field of fields) changed[field] = args[field];
  // The provider's types say of each of these fields that it is a list of objects.
  for (const list of Object.keys(lists) as (keyof Args)[])
    changed[list] = beside(args[list], changed[list], lists[list] ?? "") as Args[keyof Args];
  return changed;
}

/** Entries of ours, and those of others that are not in place of one of ours. */
function beside(own: unknown, given: unknown, key: string): pulumi.Output<object[]> {
  const nameOf = (entry: object) => Reflect.get(entry, key);
  return pulumi
    .all([own as pulumi.Input<object[]>, given as pulumi.Input<object[] | undefined>])
    .apply(([ours, theirs = []]) => {
      const names = ours.map(nameOf);
      return [...ours, ...theirs.filter((entry) => !names.includes(nameOf(entry)))];
    });
}
