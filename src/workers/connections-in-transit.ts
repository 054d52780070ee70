import type { Worker } from 'node:cluster';

/** A message of Node's `cluster`, as far as it matters here. */
interface ClusterMessage {
  readonly act?: string;
  readonly seq?: number;
  /** The `seq` of the message to which this one is the reply. */
  readonly ack?: number;
}

interface Connection {
  close(): void;
}

/**
 * Closes connections that Node has sent to a worker that ends before it replies. Node itself leaves them open without a reader, and
 * their clients would wait for ever. It has no public way to find them: if its messages change, this closes nothing.
 */
export function closeConnectionsInTransit({ process: child }: Worker): void {
  const inTransit = new Map<number, Connection>();
  let hasEnded = false;
  const send = child.send.bind(child) as (...args: readonly unknown[]) => boolean;
  child.send = (...args: readonly unknown[]): boolean => {
    const [message, connection] = args as [ClusterMessage, Connection?];
    if (message.act === 'newconn' && message.seq !== undefined && connection) {
      // Node goes on sending until it has read the end of the channel.
      if (hasEnded) {
        connection.close();
        return false;
      }
      inTransit.set(message.seq, connection);
    }
    return send(...args);
  };
  child.on('internalMessage', ({ ack }: ClusterMessage) => {
    if (ack !== undefined) inTransit.delete(ack);
  });
  // Not `disconnect`: Node does not emit it while a connection is in transit.
  child.once('exit', () => {
    hasEnded = true;
    for (const connection of inTransit.values()) connection.close();
    inTransit.clear();
  });
}
