/** Nothing: the floor that every Pulumi program stands on. */
export {};
