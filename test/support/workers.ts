import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { GatewayProcess } from './gateway-process.js';
import { readMetrics } from './metrics.js';

/** @returns the process ids of the workers */
export function listWorkers({ pid }: GatewayProcess): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  const pairs = lines.map((line) => line.trim().split(/\s+/).map(Number));
  return pairs.filter(([, parent]) => parent === pid).map(([child]) => child!);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Reads the series of all workers; empty if the worker that took the request died. */
export async function readWorkerMetric(url: string, name: string): Promise<number[]> {
  const metrics = [...(await readMetrics(url).catch(() => []))];
  return metrics.filter(([series]) => series.startsWith(`${name}{worker="`)).map(([, value]) => value);
}

export function listeningRecords({ log }: GatewayProcess): readonly string[] {
  return log.filter((line) => line.includes('"listening"'));
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Opens a session of long-polling; resolves with its id. */
export async function openPolling(url: string, agent: Agent): Promise<string> {
  const { sid } = JSON.parse((await pollOnce(url, agent, '', 'GET')).slice(1)) as { sid: string };
  return sid;
}

/** Sends an upgrade request for the session on a new connection. */
export function requestUpgrade(port: number, sid: string): Socket {
  const connection = createConnection(port, '127.0.0.1').on('error', () => undefined);
  connection.write(
    `GET /socket.io/?EIO=4&transport=websocket&sid=${sid} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n` +
      `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  return connection;
}

export function pollOnce(url: string, agent: Agent, sid: string, method: 'GET' | 'POST', body = ''): Promise<string> {
  const path = `/socket.io/?EIO=4&transport=polling${sid === '' ? '' : `&sid=${sid}`}`;
  return new Promise((resolve, reject) => {
    request(url + path, { agent, method }, (response) => void text(response).then(resolve, reject))
      .once('error', reject)
      .end(body);
  });
}
