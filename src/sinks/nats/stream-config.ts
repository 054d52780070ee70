import type { StreamConfig } from '@nats-io/jetstream';
import { SinkError } from '../sink.js';

const MILESTONE_SUBJECT = 'tallycast.milestones.0.post.metric.1';
/** Other subjects as they are published, one of each kind. */
const SUBJECTS = ['tallycast.counts.0.post', 'tallycast.feeder'] as const;

/** @throws SinkError if a stream that somebody else has created would lose rows, without an error when they are published */
export function requireKept(config: StreamConfig): void {
  const problems = findProblems(config);
  if (problems.length === 0) return;
  throw new SinkError(
    `the stream ${config.name} does not keep every row: ${problems.join(', ')}. Change that, or delete the stream to have it created`,
    true,
  );
}

/** @throws SinkError if no subject of the stream is that of milestones: one that was created for counts alone takes these as before */
export function requireMilestonesKept({ name, subjects }: StreamConfig): void {
  if (subjects.some((pattern) => matches(pattern, MILESTONE_SUBJECT))) return;
  throw new SinkError(
    `a milestone was reached, and the subjects of the stream ${name} are ${subjects.join(' ')}: add tallycast.milestones.>`,
    true,
  );
}

function findProblems(config: StreamConfig): string[] {
  const { subjects, max_age, max_msgs, max_bytes, discard, retention, no_ack } = config;
  const missing = SUBJECTS.filter((subject) => !subjects.some((pattern) => matches(pattern, subject)));
  return [
    missing.length > 0 && `its subjects are ${subjects.join(' ')} instead of tallycast.>`,
    max_age > 0 && 'max_age is not 0',
    max_msgs > 0 && discard === 'old' && `max_msgs is ${max_msgs} and discard is old`,
    max_bytes > 0 && discard === 'old' && `max_bytes is ${max_bytes} and discard is old`,
    retention !== 'limits' && `retention is ${retention} instead of limits`,
    no_ack && 'no_ack is true',
  ].filter((problem) => typeof problem === 'string');
}

/** As NATS does: `*` is one token, `>` is all that follow. */
function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.');
  const tokens = subject.split('.');
  const isPrefix = wanted.every((token, i) => i < tokens.length && ['*', '>', tokens[i]].includes(token));
  return isPrefix && (wanted.length === tokens.length || wanted.at(-1) === '>');
}
