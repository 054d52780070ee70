import { z } from 'zod';
import { ENVIRONMENT } from '../config/environment-schema.js';

/** The texts of one setting, as its schema declares them. */
export interface SettingText {
  /** `null`: unset. */
  readonly standard: string | null;
  readonly values: string;
  readonly description: string;
}

export function describeSetting(variable: string): SettingText {
  const schema: z.ZodType = ENVIRONMENT.shape[variable as keyof typeof ENVIRONMENT.shape];
  const { values, description } = schema.meta() as Omit<SettingText, 'standard'>;
  const standard = schema instanceof z.ZodPrefault ? String(schema.def.defaultValue) : '';
  return { standard: standard === '' ? null : standard, values, description };
}
