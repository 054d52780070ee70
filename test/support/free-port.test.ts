import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { freePort } from './free-port.js';

const run = promisify(execFile);
const PORTS = 300;

/** Reserves the port in another process as `freePort` does, or prints the error's code. */
const RESERVE = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('error', ({ code }) => console.log(code));
  socket.bind(Number(process.argv[1]), '127.0.0.1', () => socket.close());
`;

describe('a free port', () => {
  it('a free port is returned once in a test file', async () => {
    const ports = new Set<number>();
    for (let i = 0; i < PORTS; i++) ports.add(await freePort());
    expect(ports.size).toBe(PORTS);
  });

  it('a free port cannot be reserved by another test process, although nothing listens there', async () => {
    const port = await freePort();
    const { stdout } = await run(process.execPath, ['-e', RESERVE, String(port)]);
    expect(stdout).toBe('EADDRINUSE\n');
  });
});
