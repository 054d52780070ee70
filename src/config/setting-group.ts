import type { z } from 'zod';

/** Settings of one subject, for the page of settings (docs/configuration.md) and for `--help`. */
export interface SettingGroup {
  readonly title: string;
  readonly settings: Readonly<Record<string, z.ZodType<unknown, string | undefined>>>;
  /** Markdown sentences about these settings that have no room in a table. */
  readonly notes: readonly string[];
}

/** @param standard as one would write it in the environment */
export function setting<T extends z.ZodType<unknown, string>>(schema: T, standard: string, description: string) {
  return schema.prefault(standard as z.input<T>).meta({ ...schema.meta(), description });
}

export function optional<T extends z.ZodType<unknown, string>>(schema: T, description: string) {
  return schema.optional().meta({ ...schema.meta(), description });
}
