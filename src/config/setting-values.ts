import { isIP } from 'node:net';
import proxyaddr from 'proxy-addr';
import { z } from 'zod';

/** The kinds of values that settings have. Each carries a text for docs and its own error: what would be right. */

export function integer(min: number, max: number, unit = '') {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, rule)
    .transform(Number)
    .pipe(z.number().min(min, rule).max(max, rule))
    .meta({ values: `${min} to ${max}${unit === '' ? '' : ` ${unit}`}` });
}

export function oneOf<const T extends readonly [string, ...string[]]>(...values: T) {
  const [last, ...others] = [...values].reverse();
  const rule = `must be ${others.reverse().join(', ')} or ${last!}`;
  return z.enum(values, rule).meta({ values: values.map((value) => `\`${value}\``).join(', ') });
}

export function matching(pattern: RegExp, values: string) {
  return z.string().regex(pattern, `must be ${values}`).meta({ values });
}

/** @param values describes valid values in docs and errors */
export function text(isValid: (value: string) => boolean, values: string) {
  return z.string().refine(isValid, `must be ${values}`).meta({ values });
}

/** @param parse throws errors whose messages continue "NAME " */
export function parsed<T>(parse: (value: string) => T, values: string) {
  return z
    .string()
    .transform((value, context): T => {
      try {
        return parse(value);
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message });
        return z.NEVER;
      }
    })
    .meta({ values });
}

/** A comma-separated list. */
export function list(isValid: (value: string) => boolean, values: string) {
  return z
    .string()
    .transform((value) =>
      value
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== ''),
    )
    .pipe(z.array(z.string().refine(isValid, `must be ${values}`)))
    .meta({ values: values });
}

/** Its characters mean the same in URLs of every kind, and need no percent-encoding. */
export function isBasePath(value: string): boolean {
  return /^(?:\/(?!\.\.?(?:\/|$))[\w.~-]+)+$/.test(value);
}

/** An address, or a host name. A name cannot end in a number: such a text is an address or invalid. */
export function isHost(value: string): boolean {
  return isIP(value) !== 0 || (/^[a-z0-9_.-]{1,253}$/i.test(value) && !/(^|\.)\d+$/.test(value));
}

export function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value && !value.includes('*');
}

export function isNetwork(value: string): boolean {
  try {
    proxyaddr.compile(value);
    return true;
  } catch {
    return false;
  }
}
