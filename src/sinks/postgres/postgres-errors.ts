import { DatabaseError } from 'pg';
import { SinkError } from '../sink.js';
import type { PostgresTables } from './postgres-tables.js';
import type { PostgresTarget } from './postgres-url.js';
import { quoteName, toLine } from './sql-text.js';

/** Classes of SQLSTATE that need somebody to change something: logins, missing databases and schemas, rights and altered tables. */
const CONFIGURATION_CLASSES = new Set(['28', '3D', '3F', '42']);
/** Classes of values that are not accepted: wrong data, constraints, views with a check. */
const REJECTION_CLASSES = new Set(['22', '23', '44']);
/** RAISE EXCEPTION of a trigger. */
const RAISED = 'P0001';
const NOT_NULL_VIOLATION = '23502';
/** A statement ran into statement_timeout. */
const QUERY_CANCELED = '57014';
/** The server may be a primary again in a moment, so retries stay quick. */
const READ_ONLY = '25006';
/** The function of the server that checks policies: a missing right has the same SQLSTATE, and messages may be translated. */
const POLICY_CHECK = 'ExecWithCheckOptions';

/** Errors of Node.js, the more special ones first: a retry gets the same certificate. */
const CERTIFICATE_ADVICE: readonly (readonly [RegExp, string])[] = [
  [/ALTNAME/, 'name the server in SINK_URL as its certificate does, or use sslmode=require'],
  [/EXPIRED/, 'renew the certificate of the server, or use sslmode=require'],
  [
    /CERT|SIGNATURE|ENOENT|EACCES/,
    'name a file with the certificate of its authority with sslrootcert in SINK_URL, or use sslmode=require',
  ],
];

/** Whether the server rejected rows because of their values. Rows have no NULL in the columns of Tallycast that must not have one. */
export function isRejection(error: unknown): error is DatabaseError & { readonly code: string } {
  return error instanceof DatabaseError && isRejectionCode(error.code ?? '');
}

/** Whether the session cannot write. A new one may: another server, or other defaults. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === READ_ONLY;
}

function isRejectionCode(code: string): boolean {
  return code !== NOT_NULL_VIOLATION && (REJECTION_CLASSES.has(code.slice(0, 2)) || code === RAISED);
}

/** In one line, as sinks report errors: what is wrong, then what would be right. */
export function toSinkError(error: unknown, target: PostgresTarget, tables: PostgresTables): SinkError {
  if (error instanceof SinkError) return error;
  const message = readMessage(error);
  const advice =
    error instanceof DatabaseError ? adviseOnState(error, target, tables) : adviseOnConnection(error, message);
  if (advice === null) {
    const isTimeout = readCode(error) === QUERY_CANCELED;
    const hint = isReadOnly(error)
      ? ': the server is a standby, or default_transaction_read_only is on; SINK_URL has to name a primary'
      : '';
    return new SinkError(`cannot be written now: ${message}${hint}`, false, { isTimeout, cause: error });
  }
  return new SinkError(`${message}: ${advice}`, true, { cause: error });
}

/** @returns what would be right; `null` if a retry may help */
function adviseOnState(error: DatabaseError, target: PostgresTarget, tables: PostgresTables): string | null {
  const code = readCode(error);
  const { user, database, schema } = target;
  const stateClass = code.slice(0, 2);
  if (isRejectionCode(code)) return 'drop the constraint or trigger that was added to the tables of Tallycast';
  if (code === NOT_NULL_VIOLATION) return 'give the column that was added to the table a default, or drop it';
  if (!CONFIGURATION_CLASSES.has(stateClass)) return null;
  if (stateClass === '28') return 'check the user, the password and sslmode in SINK_URL, and pg_hba.conf of the server';
  if (stateClass === '3D') return `CREATE DATABASE ${quoteName(database)}, or name another one in SINK_URL`;
  if (stateClass === '3F') return `CREATE SCHEMA ${quoteName(schema)}, or name another one with ?schema= in SINK_URL`;
  if (error.routine === POLICY_CHECK) {
    return `disable row-level security on ${tables.names}, or ALTER ROLE ${quoteName(user)} BYPASSRLS`;
  }
  if (code === '42501') {
    return error.message.includes('tallycast_milestones')
      ? tables.grantMilestones(user)
      : tables.grants(user).join('; ');
  }
  return (
    'the tables must have the columns and keys that tallycast sink schema prints: restore them, or drop ' +
    `${tables.names} to have them made and written again`
  );
}

function adviseOnConnection(error: unknown, message: string): string | null {
  // A socket of a server that is down is missing like a file.
  if ((error as { readonly syscall?: unknown }).syscall === 'connect') return null;
  const code = readCode(error);
  if (message.includes('does not support SSL')) return 'enable ssl in the server, or use sslmode=disable in SINK_URL';
  if (message.startsWith('SASL')) return 'check the password in SINK_URL';
  return CERTIFICATE_ADVICE.find(([pattern]) => pattern.test(code))?.[1] ?? null;
}

function readCode(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}

/** An error for several addresses of one host has no message. */
function readMessage(error: unknown): string {
  const { message } = error as { readonly message?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : readCode(error);
  return toLine(text);
}
