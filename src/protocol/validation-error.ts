import type { ZodError } from 'zod';
import { type ErrorBody, errorBody } from './errors.js';

/** BAD_REQUEST for an invalid payload: names the field, says what would be right, and repeats nothing of the payload. */
export function validationError(error: ZodError, fields: readonly string[]): ErrorBody {
  const issue = error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const name = JSON.stringify(issue.keys[0]?.slice(0, 64));
    return errorBody('BAD_REQUEST', `${name} is not a field; expected one of: ${fields.join(', ')}`);
  }
  const field = issue.path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step).slice(0, 64)}`))
    .join('');
  return errorBody('BAD_REQUEST', `${field.replace(/^\./, '') || 'the payload'} ${issue.message}`);
}
