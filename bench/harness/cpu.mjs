/** CPU time and memory of processes by Linux's accounting. */
import { readdirSync, readFileSync } from 'node:fs';

/** /proc/PID/stat counts in hundredths of a second (USER_HZ, the same on every architecture that Node runs on). */
const STAT_TICK_MICROS = 10_000;
/** `stat` is coarse. If it is ahead by more than this, a thread has ended. */
const ENDED_THREADS_MICROS = 50_000;

/** CPU time of the process's running threads in µs, exact to the nanosecond. */
function threadsMicros(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + scheduled(pid, thread).ran, 0);
}

/** µs that a thread ran, and µs that it waited for a core. */
function scheduled(pid, thread) {
  const [ran = 0, waited = 0] = readOrEmpty(`/proc/${pid}/task/${thread}/schedstat`).split(' ').map(Number);
  return { ran: ran / 1e3, waited: waited / 1e3 };
}

/** CPU time of the process in µs, ended threads included, in steps of 10 ms. */
export function processMicros(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * STAT_TICK_MICROS;
}

/** Jiffies of a core: busy ones and all. */
function coreJiffies(core) {
  const line = new RegExp(`^cpu${core} .*$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[0] ?? '';
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, ...more] = line.split(' ').slice(1, 9).map(Number);
  const busy = user + nice + system + more.reduce((sum, jiffies) => sum + jiffies, 0);
  return { busy, all: busy + idle + iowait };
}

/**
 * Starts measuring running processes.
 *
 * @returns a function that returns the figures since the start: `micros` of CPU; `wallMicros`; `share` of one core;
 *   `waitShare`: time that the first threads waited for a core; `coreShare`: how busy the core was with all processes
 */
export function measureCpu(pids, core = 0) {
  const before = pids.map((pid) => ({
    threads: threadsMicros(pid),
    whole: processMicros(pid),
    waited: scheduled(pid, pid).waited,
  }));
  const jiffies = coreJiffies(core);
  const startNanos = process.hrtime.bigint();
  return () => {
    const wallMicros = Number(process.hrtime.bigint() - startNanos) / 1e3;
    let micros = 0;
    let waited = 0;
    pids.forEach((pid, i) => {
      const threads = threadsMicros(pid) - before[i].threads;
      const whole = processMicros(pid) - before[i].whole;
      micros += whole - threads > ENDED_THREADS_MICROS ? whole : threads;
      waited += scheduled(pid, pid).waited - before[i].waited;
    });
    const now = coreJiffies(core);
    const coreShare = (now.busy - jiffies.busy) / Math.max(1, now.all - jiffies.all);
    return { micros, wallMicros, share: micros / wallMicros, waitShare: waited / wallMicros, coreShare };
  };
}

/** Bytes of the processes' anonymous memory, without files, which other processes share. */
export function memoryBytes(pids) {
  let bytes = 0;
  for (const pid of pids) {
    const rollup = readOrEmpty(`/proc/${pid}/smaps_rollup`);
    const own =
      /^Pss_Anon:\s+(\d+)/m.exec(rollup) ?? /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    bytes += Number(own[1]) * 1024;
  }
  return bytes;
}

function readOrEmpty(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
