import type { Socket } from 'socket.io';
import { AckArgument, PacketDecoder, type PacketReceiver } from './packet-decoder.js';
import type { Shortcut } from './shortcut.js';

/**
 * Passes a connection's events to `receiver`, in order: directly from the gateway's own decoder, whose field is private in
 * socket.io's types; without the shortcut, from socket.io's listeners, in a later turn.
 */
export function receiveEvents(socket: Socket, receiver: PacketReceiver, shortcut: Shortcut): void {
  if (shortcut.isOn && attachReceiver(socket, receiver, shortcut)) return;
  socket.onAny((event: string, ...args: unknown[]) => {
    const id = args.pop();
    if (id instanceof AckArgument) receiver.event(event, args, id.value);
  });
}

/** @returns whether the decoder was found where socket.io keeps it. If it was not, the shortcut is disabled. */
export function attachReceiver(socket: Socket, receiver: PacketReceiver, shortcut: Shortcut): boolean {
  try {
    const { decoder } = socket.client as unknown as { readonly decoder?: unknown };
    if (!(decoder instanceof PacketDecoder)) throw new Error("socket.io's client has no decoder");
    decoder.receiver = receiver;
    return true;
  } catch (error) {
    shortcut.disable(error);
    return false;
  }
}
