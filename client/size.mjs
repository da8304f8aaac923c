/** Says how large the package is in a page, minified and compressed; more than 4 KB a part is too much. */
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const LIMIT = 4096;

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

export const sizes = async () => ({
  core: await sizeOf('dist/index.js'),
  react: await sizeOf('dist/react/index.js', ['../index.js']),
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [part, bytes] of Object.entries(await sizes())) {
    console.log(`${part.padEnd(6)} ${bytes} bytes of ${LIMIT}`);
    if (bytes > LIMIT) process.exitCode = 1;
  }
}
