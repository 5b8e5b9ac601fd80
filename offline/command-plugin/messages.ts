import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { type Changes, inputOf } from "./diff";
import type { Failure } from "./inputs";
import { type Properties, withoutNulls } from "./properties";

/** Reads a protobuf struct; a missing one is empty. */
export function fromStruct(struct: Struct | undefined): Properties {
  return withoutNulls((struct?.toJavaScript() ?? {}) as Properties);
}

export function toStruct(properties: Properties): Struct {
  return Struct.fromJavaScript(properties);
}

export function failureList(failures: readonly Failure[]): proto.CheckFailure[] {
  return failures.map(({ property, reason }) =>
    new proto.CheckFailure().setProperty(property).setReason(`${property} ${reason}`),
  );
}

/** Changed triggers replace the resource (the new one first, then the old one goes); all else updates it. */
export function diffResponse(changes: Changes): proto.DiffResponse {
  const { Kind } = proto.PropertyDiff;
  const { DIFF_SOME, DIFF_NONE } = proto.DiffResponse.DiffChanges;
  const response = new proto.DiffResponse().setChanges(changes.size > 0 ? DIFF_SOME : DIFF_NONE);
  for (const [path, change] of changes) {
    const replaces = inputOf(path) === "triggers";
    const kind = replaces ? Kind[`${change}_REPLACE`] : Kind[change];
    response.getDetaileddiffMap().set(path, new proto.PropertyDiff().setKind(kind));
  }
  const inputs = [...new Set([...changes.keys()].map(inputOf))];
  return response
    .setHasdetaileddiff(true)
    .setDiffsList(inputs)
    .setReplacesList(inputs.filter((input) => input === "triggers"));
}
