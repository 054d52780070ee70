/**
 * Operations of a stock socket.io-client that are never lost: what is refused for a while, or has no answer when the
 * connection breaks, is sent again in order. Copy it. Give the handshake a `session` of its own, so that what is sent
 * twice counts once.
 *
 * @returns a function that sends an operation, for instance `operate('like', { post: '42' })`. It resolves with the
 * acknowledgement, and rejects with an Error if the gateway refuses the operation for good.
 */
export function operationsOf(socket) {
  const unanswered = [];
  let seq = 0;
  let pause = null;

  const send = (operation) => {
    // While it is disconnected socket.io would keep what is emitted, and send it before what is older.
    if (socket.connected && pause === null) {
      socket.emit(operation.event, operation.payload, (answer) => settle(operation, answer));
    }
  };
  const sendAll = () => {
    clearTimeout(pause);
    pause = null;
    unanswered.forEach(send);
  };
  const settle = (operation, answer) => {
    const at = unanswered.indexOf(operation);
    if (at === -1) return; // sent twice, answered twice
    if (!answer.ok && answer.error.retryable) {
      pause ??= setTimeout(sendAll, answer.error.retryAfterMs ?? 1000);
      return;
    }
    unanswered.splice(at, 1);
    if (answer.ok) operation.resolve(answer);
    else operation.reject(new Error(answer.error.message));
  };

  socket.on('connect', sendAll);
  return (event, payload) =>
    new Promise((resolve, reject) => {
      const operation = { event, payload: { ...payload, seq: ++seq }, resolve, reject };
      unanswered.push(operation);
      send(operation);
    });
}
