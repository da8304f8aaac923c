/** Says how large the package is in a page, minified and compressed, and whether that is too much. */
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export async function sizeOf(entry, external = []) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    external: ['react', 'react/jsx-runtime', '@tanstack/react-query', ...external],
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

/** Bytes: below 3 KB without React, and below 5.5 KB with it. */
export const LIMITS = { core: 3072, both: 5632 };

export async function sizes() {
  const core = await sizeOf('dist/index.js');
  const react = await sizeOf('dist/react/index.js', ['../index.js']);
  return { core, react, both: core + react };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [part, bytes] of Object.entries(await sizes())) {
    const limit = LIMITS[part] ?? Infinity;
    console.log(`${part.padEnd(6)} ${bytes} bytes` + (limit < Infinity ? `, below ${limit}` : ''));
    if (bytes >= limit) process.exitCode = 1;
  }
}
