import type { Metrics } from '../metrics.js';
import type { Delta, PostDelta, ToggleRegister } from './delta.js';

/**
 * A choice that is put on puts the actor's other options off with the same stamp. Some of these updates may come in a later delta than it
 * does, because a delta has the newest state of what changed before some stamp. Adding them shows no reader two options of an actor.
 * @returns the same deltas if no metric is a choice
 */
export function completeChoices(deltas: readonly Delta[], metrics: Metrics): readonly Delta[] {
  if (metrics.otherOptions.every(({ length }) => length === 0)) return deltas;
  return deltas.map((delta) => ({ ...delta, posts: delta.posts.map((post) => completePost(post, metrics)) }));
}

function completePost(post: PostDelta, { otherOptions }: Metrics): PostDelta {
  const registers = post.registers.flatMap((register): ToggleRegister[] => {
    const { metric, on } = register;
    return on
      ? [...otherOptions[metric]!.map((other) => ({ ...register, metric: other, on: false })), register]
      : [register];
  });
  return { ...post, registers };
}
