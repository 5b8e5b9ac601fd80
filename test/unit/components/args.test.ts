import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import ts from "typescript";
import { describe, expect, expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type { KeyArgs, LimitsArgs, MicrosandboxArgs } from "../../../components/args";
import { keyLimits } from "../../../components/settings/keys";
import { type SettingsInput, settingFields, settingsSchema } from "../../../components/settings/schema";
import { settingsTable } from "../../../docs/settings-table";

/** The interfaces that the one of all args is made of. */
const parts = ["ImageArgs", "AccessArgs", "HostArgs", "ServerArgs", "SandboxesArgs"];

/** A field of an interface, as its author has described it. */
interface Field {
  owner: string;
  name: string;
  comment: string;
  tags: Record<string, string>;
}

const folder = join(__dirname, "../../../components/args");
const fields = readdirSync(folder).flatMap((file): Field[] => {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(folder, file), "utf8"),
    ts.ScriptTarget.ES2022,
    true,
  );
  return source.statements.filter(ts.isInterfaceDeclaration).flatMap((owner) =>
    owner.members.map((member): Field => {
      const doc = ts.getJSDocCommentsAndTags(member).find(ts.isJSDoc);
      const tags = (doc?.tags ?? []).map((tag) => [
        tag.tagName.text,
        ts.getTextOfJSDocComment(tag.comment) ?? "",
      ]);
      return {
        owner: parts.includes(owner.name.text) ? "MicrosandboxArgs" : owner.name.text,
        name: member.name?.getText(source) ?? "",
        comment: ts.getTextOfJSDocComment(doc?.comment) ?? "",
        tags: Object.fromEntries(tags),
      };
    }),
  );
});

/** Interfaces of the groups of settings. */
const owners = {
  MicrosandboxArgs: settingsSchema.shape,
  VolumesArgs: settingFields.volumes,
  CertificateArgs: settingFields.tls,
  RegistryAccessArgs: settingFields.registries,
  WheelHashArgs: settingFields.versionSha256,
  LimitsArgs: settingFields.limits,
  KeyLimitsArgs: keyLimits.shape,
};
const groupOf: Record<string, string> = {
  ...{ VolumesArgs: "volumes.", CertificateArgs: "tls.", RegistryAccessArgs: "registries." },
  ...{ WheelHashArgs: "versionSha256.", LimitsArgs: "limits.", KeyLimitsArgs: "limits." },
  MicrosandboxArgs: "",
};
const rows = new Map(settingsTable().map((row) => [row.key, row]));
const isGroup = ({ owner, name }: Field) =>
  owner === "MicrosandboxArgs" && Object.hasOwn(settingFields, name);

describe("the args of a service", () => {
  it.each(Object.entries(owners))("%s has the fields of the settings", (owner, shape) => {
    const names = fields.filter((field) => field.owner === owner).map(({ name }) => name);
    const others = owner === "MicrosandboxArgs" ? ["hosts", "cluster"] : [];
    expect([...names, ...others].sort()).toEqual(Object.keys(shape).sort());
  });

  it.each(fields.map((field) => [`${field.owner}.${field.name}`, field] as const))(
    "%s is described, with its default and an example that is accepted",
    (_name, field) => {
      expect(field.comment).toMatch(/^[A-Z`].*\.$/s);
      if (isGroup(field)) return;
      expect(field.tags.example).toBeTruthy();
      const row = rows.get(`${groupOf[field.owner]}${field.name}`);
      if (!row || !(field.owner in owners)) return;
      const text = (json: string | undefined) => {
        if (json === undefined) return "";
        const value: unknown = JSON.parse(json);
        return typeof value === "string" ? value : JSON.stringify(value);
      };
      expect(text(field.tags.default)).toBe(row.default);
      const schema: Record<string, z.ZodType> = owners[field.owner as keyof typeof owners];
      const example: string = field.tags.example ?? "";
      if (!example.includes("…"))
        expect(schema[field.name]?.safeParse(JSON.parse(example)).success).toBe(true);
    },
  );

  it("have the types of the settings", () => {
    expectTypeOf<pulumi.Unwrap<Required<MicrosandboxArgs>>>().toExtend<Partial<SettingsInput>>();
    expectTypeOf<pulumi.Unwrap<LimitsArgs>>().toExtend<NonNullable<SettingsInput["limits"]>>();
    expectTypeOf<KeyArgs[]>().toExtend<NonNullable<SettingsInput["keys"]>>();
    expectTypeOf<Exclude<keyof SettingsInput, keyof MicrosandboxArgs>>().toEqualTypeOf<never>();
    expectTypeOf<Exclude<keyof MicrosandboxArgs, keyof SettingsInput>>().toEqualTypeOf<never>();
  });
});
