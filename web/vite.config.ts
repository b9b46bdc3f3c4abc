import { defineConfig } from 'vitest/config';

/* Two pages, served from memory by the data plane under a strict Content-Security-Policy: nothing
 * is inlined, every file but the two pages carries a hash of its content in its name. */
export default defineConfig({
  build: {
    target: 'es2022',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000, /* hls.js */
    rollupOptions: { input: ['index.html', 'watch.html'] },
  },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});
