/** What others get: `npm pack`, installed elsewhere, imported, rendered, and typed as strictly as can be. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: a script
import { LIMITS, sizeOf, sizes } from '../size.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const elsewhere = mkdtempSync(join(tmpdir(), 'walpush-pack-'));

/** What the command prints. Not execFileSync: a worker that does not answer vitest for a minute fails the whole run. */
const runIn = async (cwd: string, command: string, ...args: string[]) => (await promisify(execFile)(command, args, { cwd })).stdout;
const run = (command: string, ...args: string[]) => runIn(elsewhere, command, ...args);

beforeAll(async () => {
  await runIn(ROOT, 'npm', 'run', '--silent', 'build');
  await runIn(ROOT, 'npm', 'pack', '--silent', '--pack-destination', elsewhere);
  writeFileSync(join(elsewhere, 'package.json'), '{"private":true,"type":"module"}');
  const tarball = readdirSync(elsewhere).find((name) => name.endsWith('.tgz'))!;
  // A cache of its own: what npm knows of React from elsewhere would be looked at, and offline that is half of it.
  await run('npm', 'install', '--offline', '--cache', join(elsewhere, '.npm'), '--no-audit', '--no-fund', '--silent', `./${tarball}`);
}, 900_000); // on a busy machine

afterAll(() => rmSync(elsewhere, { recursive: true }));

describe('the package', () => {
  it('holds what it must, and nothing else', () => {
    const files = readdirSync(join(elsewhere, 'node_modules/walpush-client')).sort();
    expect(files).toEqual(['LICENSE', 'README.md', 'dist', 'package.json']);
    expect(readdirSync(join(elsewhere, 'node_modules')).filter((name) => name[0] !== '.')).toEqual(['walpush-client']);
    expect(readdirSync(join(elsewhere, 'node_modules/walpush-client/dist')).filter((name) => /test/.test(name))).toEqual([]);
  });

  it('runs without React, in a program that has no WebSocket of its own', async () => {
    const program = `
      import { WebSocketClient, compareIds } from 'walpush-client';
      const client = new WebSocketClient({ token: () => null });
      client.subscribe('requests', 5, () => {});
      client.onState(() => client.state() === 'denied' && (console.log('denied', compareIds('0/A-1', '0/9-1')), client.close()));`;
    expect((await run(process.execPath, '--input-type=module', '-e', program)).trim()).toBe('denied 1');
  });

  it('renders with React', async () => {
    link('react', 'react-dom', 'scheduler', '@tanstack', '@types', 'csstype');
    const program = `
      import { createElement as h } from 'react';
      import { renderToString } from 'react-dom/server';
      import { LiveIndicator, WebSocketProvider } from 'walpush-client/react';
      console.log(renderToString(h(WebSocketProvider, { token: () => null }, h(LiveIndicator))));`;
    expect(await run(process.execPath, '--input-type=module', '-e', program)).toContain('data-state="connecting"');
  });

  it.each(['NodeNext', 'Bundler'])('types the examples of the README (%s)', async (resolution) => {
    link('react', '@tanstack', '@types', 'csstype');
    const examples = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```(tsx?)\n(.*?)```/gs)];
    expect(examples.length).toBeGreaterThanOrEqual(3);
    const files = examples.map(([, kind, text], n) => {
      writeFileSync(join(elsewhere, `example${n}.${kind}`), text!);
      return `example${n}.${kind}`;
    });
    const module_ = resolution === 'Bundler' ? 'ESNext' : resolution;
    const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck'];
    const how = ['--noEmit', '--target', 'ES2022', '--lib', 'ES2022,DOM', '--jsx', 'react-jsx', '--types', 'react'];
    await run(join(ROOT, 'node_modules/.bin/tsc'), ...how, ...strict, '--module', module_, '--moduleResolution', resolution, ...files);
  });

  it('is small, and leaves out what is not used', async () => {
    const { core, react, both } = await sizes();
    console.log(`minified and compressed: core ${core} bytes, react ${react} bytes`);
    expect(core).toBeLessThan(LIMITS.core);
    expect(both).toBeLessThan(LIMITS.both);
    writeFileSync(join(ROOT, 'dist/.one.js'), "export { compareIds } from './index.js';");
    const one = await sizeOf('dist/.one.js');
    rmSync(join(ROOT, 'dist/.one.js'));
    expect(one).toBeLessThan(400);
  });
});

function link(...names: string[]): void {
  mkdirSync(join(elsewhere, 'node_modules'), { recursive: true });
  for (const name of names) {
    const at = join(elsewhere, 'node_modules', name);
    rmSync(at, { recursive: true, force: true });
    symlinkSync(join(ROOT, 'node_modules', name), at);
  }
}
