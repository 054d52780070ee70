import type { Socket } from 'socket.io';
import { AckArgument, PacketDecoder, type PacketReceiver } from './packet-decoder.js';
import type { Shortcut } from './shortcut.js';

/**
 * Hands a connection's events to `receiver`, in their order: straight from the decoder, which is the gateway's own, though
 * its field is private in socket.io's types; else as socket.io passes them to its listeners, in a later turn.
 */
export function receiveEvents(socket: Socket, receiver: PacketReceiver, shortcut: Shortcut): void {
  if (shortcut.isOn && attachReceiver(socket, receiver, shortcut)) return;
  socket.onAny((event: string, ...args: unknown[]) => {
    const id = args.pop();
    if (id instanceof AckArgument) receiver.event(event, args, id.value);
  });
}

/** @returns whether the decoder was found where socket.io keeps it; it is not looked for again if not */
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
