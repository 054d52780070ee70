import { Module } from '@nestjs/common';
import { JobRunner } from '../admin/job-runner.js';
import { MilestoneAdministration } from '../admin/milestone-administration.js';
import { LogAdministration } from '../admin/log-administration.js';
import { SinkAdministration } from '../admin/sink-administration.js';
import type { EventLog } from '../log/event-log.js';
import { LogProgress } from '../log/log-progress.js';
import { GlobalRead } from '../replication/global-read.js';
import type { Replication } from '../replication/start-replication.js';
import type { Sinks } from '../sinks/start-sinks.js';
import type { CopyableStore } from '../store/change-store.js';
import type { CounterStore } from '../store/counter-store.js';
import { CLOCK, EVENT_LOG, REPLICATION, SETTINGS, SINKS, STORE } from '../config/injection-tokens.js';
import type { Clock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { AdminAuthentication } from './admin-authentication.js';
import { AdminController } from './admin.controller.js';
import { BadgeController } from './badge/badge.controller.js';
import { CountReader } from './count-reader.js';
import { CountersController } from './counters.controller.js';
import { EventAcceptor } from './events/event-acceptor.js';
import { EventBodies } from './events/event-bodies.js';
import { EventsController } from './events/events.controller.js';
import { MilestoneAdminController } from './milestones/milestone-admin.controller.js';
import { MilestonesController } from './milestones/milestones.controller.js';
import { PeerAuthentication } from './peer-authentication.js';
import { ReadLimiter } from './read-limiter.js';
import { RegionsController } from './regions.controller.js';
import { ReplicationController } from './replication.controller.js';
import { StreamController } from './stream.controller.js';
import { StreamRegistry } from './stream-registry.js';

const globalRead = {
  provide: GlobalRead,
  useFactory: (replication: Replication) => new GlobalRead(replication),
  inject: [REPLICATION],
};

const sinkAdministration = {
  provide: SinkAdministration,
  useFactory: ({ changeStore }: CopyableStore, sinks: Sinks, settings: Settings, clock: Clock) =>
    new SinkAdministration(changeStore, sinks, { ...settings, clock }),
  inject: [STORE, SINKS, SETTINGS, CLOCK],
};

const logAdministration = {
  provide: LogAdministration,
  useFactory: (log: EventLog | null, progress: LogProgress | null, settings: Settings, clock: Clock) =>
    new LogAdministration(log, progress, { ...settings, clock }),
  inject: [EVENT_LOG, LogProgress, SETTINGS, CLOCK],
};

const milestoneAdministration = {
  provide: MilestoneAdministration,
  useFactory: ({ milestones }: CounterStore, settings: Settings, { peers }: Replication) =>
    new MilestoneAdministration(milestones, settings, peers),
  inject: [STORE, SETTINGS, REPLICATION],
};

/** REST and Server-Sent Events. configureHttp adds CORS, limits, errors and documentation. */
@Module({
  controllers: [
    RegionsController,
    ReplicationController,
    EventsController,
    BadgeController,
    CountersController,
    MilestonesController,
    StreamController,
    AdminController,
    MilestoneAdminController,
  ],
  providers: [
    StreamRegistry,
    PeerAuthentication,
    AdminAuthentication,
    ReadLimiter,
    CountReader,
    EventAcceptor,
    EventBodies,
    globalRead,
    sinkAdministration,
    logAdministration,
    milestoneAdministration,
    JobRunner,
  ],
  exports: [StreamRegistry, PeerAuthentication],
})
export class HttpModule {}
