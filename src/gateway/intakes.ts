import type { IncomingMessage } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import type { Server, Socket } from 'socket.io';
import type { WebSocket } from 'ws';
import { AddressLimiter } from '../access/address-limiter.js';
import { MessageBudget } from '../access/message-budget.js';
import { type SuspicionKind, SuspicionLog } from '../access/suspicions.js';
import type { Clock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { CLOCK, SETTINGS } from '../config/injection-tokens.js';
import { Intake, type UnitWaiter, type UnitQueue } from './intake.js';
import { TurnCounter } from './transport/turns.js';

type EngineSocket = Socket['conn'];

/** How often those who wait are looked at. An address of 10,000 units a second lets some 15 of its connections go on then. */
const RENEW_MS = 50;
/** A sender that has used up its units again within this time after it had some keeps on. */
const QUIET_MS = 1_000;
/** A sender that keeps on for this long is disconnected. A client that sends 10,000 operations at once, twice, is done by then. */
const FLOOD_MS = 10_000;
/** Addresses whose messages have to wait, remembered at once; those that began first are forgotten. */
const PRESSING_MAX = 1_000;

/** The intakes of all connections, and those among them that wait for units. */
@Injectable()
export class Intakes implements UnitQueue {
  readonly turns: TurnCounter;
  /** In the order in which they began to wait, so that the connections of an address take turns. */
  readonly #waiting = new Set<UnitWaiter>();
  #looking = false;
  /** Since when messages of an address have to wait, again and again, and when the last had to, milliseconds. */
  readonly #pressing = new Map<string, { readonly sinceMs: number; atMs: number; isNamed: boolean }>();
  readonly #ofRequest = new WeakMap<IncomingMessage, Intake>();
  readonly #ofConnection = new WeakMap<EngineSocket, Intake>();

  constructor(
    @Inject(CLOCK) readonly clock: Clock,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(AddressLimiter) readonly addresses: AddressLimiter,
    @Inject(SuspicionLog) private readonly suspicions: SuspicionLog,
  ) {
    this.turns = new TurnCounter(clock);
  }

  /** Connections that are not read since they have used up their units. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Takes note of connections of Engine.IO as they come. */
  watch({ engine }: Server): void {
    engine.on('connection', (connection: EngineSocket) => this.#begin(connection));
  }

  intakeFor(connection: EngineSocket): Intake {
    const intake = this.#ofConnection.get(connection);
    if (intake === undefined) throw new Error('the connection has no intake');
    return intake;
  }

  find(connection: EngineSocket): Intake | undefined {
    return this.#ofConnection.get(connection);
  }

  /** A WebSocket has come: of a connection that goes on over it, or of one that is about to begin. */
  attach(webSocket: WebSocket, request: IncomingMessage, connection: EngineSocket | undefined): Intake {
    const intake = (connection && this.find(connection)) ?? this.#make(this.addresses.addressOf(request));
    if (connection === undefined) this.#ofRequest.set(request, intake);
    intake.attach(webSocket);
    return intake;
  }

  enqueue(one: UnitWaiter): void {
    const nowMs = this.clock.nowMs();
    this.recordWait(one.address);
    if (nowMs - one.renewedAtMs > QUIET_MS) one.floodingSinceMs = nowMs;
    else if (this.#cutFlooding(one, nowMs)) return;
    this.#waiting.add(one);
    this.#lookLater();
  }

  /**
   * To be called when something that an address sent has to wait. An address that keeps on is named, also where none of its
   * connections lasts long enough to be cut for it.
   */
  recordWait(address: string): void {
    const nowMs = this.clock.nowMs();
    const known = this.#pressing.get(address);
    if (known === undefined || nowMs - known.atMs > QUIET_MS) {
      this.#pressing.delete(address);
      for (const first of this.#pressing.keys()) {
        if (this.#pressing.size < PRESSING_MAX) break;
        this.#pressing.delete(first);
      }
      this.#pressing.set(address, { sinceMs: nowMs, atMs: nowMs, isNamed: false });
      return;
    }
    known.atMs = nowMs;
    if (known.isNamed || nowMs - known.sinceMs < FLOOD_MS) return;
    known.isNamed = true;
    this.suspicions.add('flood', address);
  }

  remove(one: UnitWaiter): void {
    this.#waiting.delete(one);
  }

  reportSuspicion(kind: SuspicionKind, address: string): void {
    this.suspicions.add(kind, address);
  }

  #begin(connection: EngineSocket): void {
    const { request } = connection as unknown as { readonly request: IncomingMessage };
    const intake = this.#ofRequest.get(request) ?? this.#make(this.addresses.addressOf(request));
    this.#ofRequest.delete(request);
    this.#ofConnection.set(connection, intake);
    intake.connection = connection;
    connection.on('packet', this.#packet);
    connection.on('close', this.#closed);
  }

  #make(address: string): Intake {
    const nowMs = this.clock.nowMs();
    const { maxOpsPerConnection } = this.settings;
    const budget = new MessageBudget(maxOpsPerConnection, this.addresses.messageTokenBucket(address), nowMs);
    return new Intake(address, budget, this);
  }

  /** One for all connections, as is `#closed`. Messages are paid for where they are handled. */
  readonly #packet = (() => {
    const find = (connection: EngineSocket): Intake | undefined => this.find(connection);
    return function (this: EngineSocket, { type }: { readonly type: string }): void {
      if (type !== 'message') find(this)?.chargeControl();
    };
  })();

  readonly #closed = (() => {
    const find = (connection: EngineSocket): Intake | undefined => this.find(connection);
    return function (this: EngineSocket): void {
      find(this)?.connectionClosed();
    };
  })();

  #cutFlooding(one: UnitWaiter, nowMs: number): boolean {
    if (nowMs - one.floodingSinceMs < FLOOD_MS) return false;
    this.#waiting.delete(one);
    this.suspicions.add('flood', one.address);
    one.disconnectFlooding();
    return true;
  }

  #lookLater(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.clock.after(RENEW_MS, this.#look);
  }

  readonly #look = (): void => {
    this.#looking = false;
    const nowMs = this.clock.nowMs();
    for (const one of this.#waiting) {
      if (one.renew(nowMs)) {
        this.#waiting.delete(one);
        one.renewedAtMs = nowMs;
        one.proceed();
      } else this.#cutFlooding(one, nowMs);
    }
    if (this.#waiting.size > 0) this.#lookLater();
  };
}
