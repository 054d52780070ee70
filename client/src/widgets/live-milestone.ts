import { Base } from './live-element.js';
import { followPageClient, pageClient } from './page-client.js';

/** `tallycast-milestone`: the milestone of a tag is reached, or more is known of it. */
export interface MilestoneReached {
  readonly post: string;
  readonly metric: string;
  readonly n: number;
  /** RFC 3339 in UTC. */
  readonly at: string;
  /** Whether an operation of this user reached it. */
  readonly mine: boolean;
  /** Whether that can't change any more. */
  readonly final: boolean;
}

/**
 * `<live-milestone post="42" metric="views" at="1000000">`: counts down to a milestone, and tells the winner. The first one of a
 * page loads its code, which is in a file of its own, because few pages have one. The two functions and the public interface
 * of the client are all that the file needs, so that this script works with a newer one.
 */
export class LiveMilestone extends Base {
  connectedCallback(): void {
    this.disconnectedCallback();
  }

  disconnectedCallback(): void {
    void import('./milestone.js').then(({ updateMilestone }) => updateMilestone(this, pageClient, followPageClient));
  }
}
