import type { IncomingMessage } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import type { Server } from 'socket.io';
import type { WebSocket } from 'ws';
import { AddressLimiter } from '../access/address-limiter.js';
import { MessageBudget } from '../access/message-budget.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';
import { CLOCK, SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import { FlowControl } from './connection-flow-control.js';
import type { EngineSocket } from './transport/engine-internals.js';
import { TurnCounter } from './transport/turn-counter.js';
import { WaitingSenders } from './waiting-senders.js';

/** Creates the flow control of each Engine.IO connection, and finds it again. */
@Injectable()
export class FlowControlRegistry {
  readonly turns: TurnCounter;
  readonly queue: WaitingSenders;
  readonly #byRequest = new WeakMap<IncomingMessage, FlowControl>();
  readonly #byConnection = new WeakMap<EngineSocket, FlowControl>();

  constructor(
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(SuspicionLog) suspicions: SuspicionLog,
  ) {
    this.turns = new TurnCounter(clock);
    this.queue = new WaitingSenders(clock, suspicions);
  }

  /** Creates one for each of the server's connections from now on. */
  watch({ engine }: Server): void {
    engine.on('connection', (connection: EngineSocket) => this.#begin(connection));
  }

  /** @throws Error if the connection has none */
  flowControlOf(connection: EngineSocket): FlowControl {
    const flowControl = this.#byConnection.get(connection);
    if (flowControl === undefined) throw new Error('the connection has no flow control');
    return flowControl;
  }

  find(connection: EngineSocket): FlowControl | undefined {
    return this.#byConnection.get(connection);
  }

  /** @param connection the connection that is upgraded to the WebSocket; `undefined` if the WebSocket begins one */
  attach(webSocket: WebSocket, request: IncomingMessage, connection: EngineSocket | undefined): FlowControl {
    const flowControl = (connection && this.find(connection)) ?? this.#create(this.addresses.addressOf(request));
    if (connection === undefined) this.#byRequest.set(request, flowControl);
    flowControl.attach(webSocket);
    return flowControl;
  }

  #begin(connection: EngineSocket): void {
    const { request } = connection;
    const flowControl = this.#byRequest.get(request) ?? this.#create(this.addresses.addressOf(request));
    this.#byRequest.delete(request);
    this.#byConnection.set(connection, flowControl);
    flowControl.connection = connection;
    connection.on('packet', this.#chargePacket);
    connection.on('close', this.#close);
  }

  #create(address: string): FlowControl {
    const { maxOpsPerConnection } = this.settings;
    const ofAddress = this.addresses.messageTokenBucket(address);
    const budget = new MessageBudget(maxOpsPerConnection, ofAddress, this.clock.nowMs());
    return new FlowControl(address, budget, this.queue);
  }

  /** One listener for all connections, as is `#close`. Messages are charged where they are handled. */
  readonly #chargePacket = (() => {
    const find = (connection: EngineSocket): FlowControl | undefined => this.find(connection);
    return function (this: EngineSocket, { type }: { readonly type: string }): void {
      if (type !== 'message') find(this)?.chargeControl();
    };
  })();

  readonly #close = (() => {
    const find = (connection: EngineSocket): FlowControl | undefined => this.find(connection);
    return function (this: EngineSocket): void {
      find(this)?.connectionClosed();
    };
  })();
}
