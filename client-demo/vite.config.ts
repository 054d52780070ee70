import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';
import { pages } from './pages.js';

const GATEWAY = 'http://127.0.0.1:3000';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The demo uses the file that other pages load from the gateway. Its own files are one folder below the gateway's path. */
const packageFromGateway: Plugin = {
  name: 'package-from-gateway',
  enforce: 'pre',
  resolveId: (id) =>
    id === 'tallycast-client/widgets' ? { id: '../client/tallycast.js', external: 'absolute' } : null,
};

export default defineConfig({
  root: at('.'),
  // Relative, because the gateway may be under any path.
  base: './',
  plugins: [packageFromGateway, pages],
  build: {
    outDir: at('../dist/client-demo'),
    emptyOutDir: true,
    target: 'es2022',
    license: { fileName: 'third-party-licenses.md' },
    // The gateway's Content-Security-Policy allows only its own files, and no data: URIs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: ['.', 'article', 'feed', 'wall', 'cable', 'regions', 'raffle'].map((page) => at(`${page}/index.html`)),
    },
  },
  // `npx vite client-demo` works on the pages against a gateway on its usual port.
  server: {
    host: '127.0.0.1',
    fs: { allow: ['..'] },
    proxy: {
      '/client/tallycast.js': GATEWAY,
      '/client/milestone.js': GATEWAY,
      '/demo': GATEWAY,
      '/v1': GATEWAY,
      '/readyz': GATEWAY,
      '/docs': GATEWAY,
      '/socket.io': { target: GATEWAY, ws: true, changeOrigin: true },
    },
  },
});
