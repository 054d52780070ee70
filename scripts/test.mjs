// Runs all tests, and `npm run check` beside them: tests wait for servers and browsers half of the time. npm test.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

async function run(args, stdio) {
  const child = spawn('npm', ['run', '-s', ...args], { stdio });
  let output = '';
  child.stdout?.on('data', (data) => (output += data));
  const [code] = await once(child, 'close');
  return { passed: code === 0, output };
}

const [check, jest] = await Promise.all([
  run(['check'], ['ignore', 'pipe', 'inherit']),
  run(['jest', '--', ...process.argv.slice(2)], 'inherit'),
]);
process.stdout.write(`\nnpm run check\n${check.output}`);
if (!check.passed || !jest.passed) process.exitCode = 1;
