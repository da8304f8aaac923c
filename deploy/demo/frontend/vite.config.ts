import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `npm run dev` and `npm run preview` beside a backend of `make demo`: the API is on the page's own origin here as well.
const proxy = { '/api': process.env.BACKEND ?? 'http://127.0.0.1:8000' };

export default defineConfig({
  plugins: [react()],
  resolve: { dedupe: ['react', 'react-dom', '@tanstack/react-query'] },
  build: { target: 'es2022', outDir: process.env.OUT_DIR ?? 'dist' },
  server: { proxy },
  preview: { proxy },
});
