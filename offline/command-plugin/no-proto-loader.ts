/** Takes the place of `@grpc/proto-loader` in the bundle. */
export function loadSync(): never {
  throw new Error("this bundle has no proto loader");
}
