import { randomBytes, randomInt } from 'node:crypto';
import { type DynamicModule, Global, Inject, Module, type OnApplicationShutdown, type Provider } from '@nestjs/common';
import { Addresses } from './access/addresses.js';
import { Identities } from './access/identity.js';
import { Origins } from './access/origins.js';
import { Tokens } from './access/tokens.js';
import { type Clock, systemClock } from './clock.js';
import { Actors } from './fanout/actors.js';
import { Fanout } from './fanout/fanout.js';
import { Ingest } from './ingest/ingest.js';
import { OperationCounts } from './ingest/operation-counts.js';
import { Instruments } from './ops/instruments.js';
import { Presence } from './presence/presence.js';
import type { Settings } from './settings.js';
import type { CounterStore } from './store/counter-store.js';
import { EmbeddedStore } from './store/embedded/embedded-store.js';
import { CLOCK, SETTINGS, STORE } from './tokens.js';

/** The counter's machinery, wired: plain classes that know neither NestJS nor which store is behind the port. */
@Global()
@Module({})
export class CoreModule implements OnApplicationShutdown {
  constructor(@Inject(STORE) private readonly store: CounterStore) {}

  static with(settings: Settings): DynamicModule {
    const providers = [...edges(settings), ...machinery(settings)];
    return { module: CoreModule, providers, exports: providers };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.store.close();
  }
}

function edges(settings: Settings): Provider[] {
  const { jwt, allowedOrigins, maxOpsPerAddress, maxConnectionsPerAddress, trustProxy } = settings;
  const limits = { operations: maxOpsPerAddress, connections: maxConnectionsPerAddress, trustProxy };
  return [
    { provide: SETTINGS, useValue: settings },
    { provide: CLOCK, useValue: systemClock },
    { provide: Identities, useValue: new Identities(jwt === null ? null : new Tokens(jwt), settings.private) },
    { provide: Origins, useValue: new Origins(allowedOrigins) },
    { provide: Addresses, useFactory: (clock: Clock) => new Addresses(limits, clock), inject: [CLOCK] },
    { provide: Actors, useClass: Actors },
    { provide: OperationCounts, useClass: OperationCounts },
  ];
}

function machinery({ dataDir, buckets, flushMs, tickMs, metrics, region }: Settings): Provider[] {
  return [
    {
      provide: STORE,
      useFactory: () => new EmbeddedStore({ path: dataDir, buckets, metrics, region, nonce: () => randomInt(2 ** 32) }),
    },
    {
      provide: Ingest,
      useFactory: (store: CounterStore, clock: Clock, instruments: Instruments) => {
        const options = { buckets, flushMs, incarnation: randomBytes(8).toString('hex') };
        return new Ingest(store, clock, Math.random, options, instruments);
      },
      inject: [STORE, CLOCK, Instruments],
    },
    { provide: Presence, useFactory: (clock: Clock) => new Presence(clock), inject: [CLOCK] },
    {
      provide: Fanout,
      useFactory: (store: CounterStore, presence: Presence, clock: Clock) =>
        new Fanout(store, presence, clock, metrics, tickMs),
      inject: [STORE, Presence, CLOCK],
    },
    { provide: Instruments, useClass: Instruments },
  ];
}
