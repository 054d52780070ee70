import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  build: {
    outDir: '../dist/client-demo',
    emptyOutDir: true,
    target: 'es2022',
    // The gateway's Content-Security-Policy allows its own files and nothing else, data: URIs included.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // `npx vite client-demo` works on the page against a gateway on its usual port.
  server: {
    host: '127.0.0.1',
    fs: { allow: ['..'] },
    proxy: { '/socket.io': { target: 'http://127.0.0.1:3000', ws: true, changeOrigin: true } },
  },
});
