import type { HomeConfirmation, MilestoneHome } from '../../../counters/milestones.js';
import type { HomeDelta } from '../../../counters/replication/delta.js';
import { HOME_MODES, modeAt } from './home-modes.js';
import { readRecord } from './milestones-decoder.js';
import { writeRecord } from './milestones-encoder.js';
import type { MsgpackReader } from './msgpack-reader.js';
import type { MsgpackWriter } from './msgpack-writer.js';

/** Reads what scripts/lib/build-homes.lua packs. */
export function readHome(values: MsgpackReader): { readonly index: number; readonly home: HomeDelta } {
  const [index, metric] = [values.readInteger(), values.readInteger()];
  const home = readMilestoneHome(values);
  const confirmations = Array.from({ length: values.readInteger() }, (): HomeConfirmation => {
    const incarnation = { region: values.readText(), epoch: values.readInteger(), nonce: values.readInteger() };
    return { ...incarnation, home: readMilestoneHome(values), stamp: values.readInteger() };
  });
  // Records that are sent name the region that decided.
  const reached = Array.from({ length: values.readInteger() }, () => readRecord(values, ''));
  return { index, home: { metric, home, confirmations, reached } };
}

/** Writes a home as scripts/merge-deltas-n.lua reads it. */
export function writeHome(writer: MsgpackWriter, index: number, home: HomeDelta): void {
  writer.writeInteger(index);
  writer.writeInteger(home.metric);
  writeMilestoneHome(writer, home.home);
  writer.writeInteger(home.confirmations.length);
  for (const { region, epoch, nonce, home: about, stamp } of home.confirmations) {
    writer.writeText(region);
    writer.writeInteger(epoch);
    writer.writeInteger(nonce);
    writeMilestoneHome(writer, about);
    writer.writeInteger(stamp);
  }
  writer.writeInteger(home.reached.length);
  for (const record of home.reached) writeRecord(writer, record, record.region);
}

function readMilestoneHome(values: MsgpackReader): MilestoneHome {
  return { region: values.readText(), number: values.readInteger(), mode: modeAt(values.readInteger()) };
}

/** @param home `null` is one without a region */
function writeMilestoneHome(writer: MsgpackWriter, home: MilestoneHome | null): void {
  const { region, number, mode } = home ?? { region: '', number: 0, mode: 'released' };
  writer.writeText(region);
  writer.writeInteger(number);
  writer.writeInteger(HOME_MODES.indexOf(mode));
}
