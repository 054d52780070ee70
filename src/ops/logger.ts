import type { LoggerService } from '@nestjs/common';
import { type Logger, pino } from 'pino';

/**
 * One line of JSON a record, or readable text on a terminal. A gateway whose log pipe is closed continues without a log: pino's
 * own writer would retry without end when the process exits.
 */
export async function createLogger(level: string): Promise<Logger> {
  process.stdout.on('error', () => undefined);
  if (!process.stdout.isTTY) return pino({ level }, process.stdout);
  const { default: pretty } = await import('pino-pretty');
  const options = { ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', singleLine: true };
  return pino({ level }, pretty({ ...options, destination: process.stdout }));
}

/** Contexts under which NestJS logs errors that it then throws. */
const BOOT_FAILURES: ReadonlySet<unknown> = new Set(['ExceptionHandler', 'NestApplication']);

/** Contexts of the gateway itself whose messages are for operators. */
const INFORMATIVE: ReadonlySet<unknown> = new Set(['admin', 'bots', 'milestones']);

/** Passes NestJS's messages to the same log. Its messages at boot get level debug. */
export class NestLog implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, context?: unknown): void {
    if (INFORMATIVE.has(context)) this.logger.info({ context }, String(message));
    else this.logger.debug({ context }, String(message));
  }

  warn(message: unknown, context?: unknown): void {
    this.logger.warn({ context }, String(message));
  }

  error(message: unknown, ...details: unknown[]): void {
    // `run` prints the reason of a failed boot in one line.
    if (BOOT_FAILURES.has(details.at(-1))) return;
    this.logger.error({ details }, message instanceof Error ? (message.stack ?? message.message) : String(message));
  }

  debug(message: unknown, context?: unknown): void {
    this.logger.trace({ context }, String(message));
  }

  fatal(message: unknown, context?: unknown): void {
    this.logger.fatal({ context }, String(message));
  }
}
