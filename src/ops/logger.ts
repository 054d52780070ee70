import type { LoggerService } from '@nestjs/common';
import { type Logger, pino } from 'pino';

/**
 * One line of JSON a record; readable text where a person watches the terminal. A gateway whose log nobody reads any more
 * goes on without one: pino's own writer would try again without end when the process ends.
 */
export async function createLogger(level: string): Promise<Logger> {
  process.stdout.on('error', () => undefined);
  if (!process.stdout.isTTY) return pino({ level }, process.stdout);
  const { default: pretty } = await import('pino-pretty');
  const options = { ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', singleLine: true };
  return pino({ level }, pretty({ ...options, destination: process.stdout }));
}

/** NestJS's names for what it reports and then throws. */
const BOOT_FAILURES: ReadonlySet<unknown> = new Set(['ExceptionHandler', 'NestApplication']);

/** NestJS writes into the same log; its messages while it starts have level debug. */
export class NestLog implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, context?: unknown): void {
    this.logger.debug({ context }, String(message));
  }

  warn(message: unknown, context?: unknown): void {
    this.logger.warn({ context }, String(message));
  }

  error(message: unknown, ...details: unknown[]): void {
    // The command reports in one line why a boot fails.
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
