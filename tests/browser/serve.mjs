/* serve.mjs - serves the test pages and the players under test on loopback, from another origin than Leat's. */
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const PLAYERS = {
  '/shaka.js': 'node_modules/shaka-player/dist/shaka-player.compiled.js',
  '/dash.js': 'node_modules/dashjs/dist/modern/umd/dash.all.min.js',
};

/* Listens on a free port; resolves to { origin, close() }. */
export function serve() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = join(here, PLAYERS[pathname] ?? (/^\/pages\/[a-z]+\.(html|js|css)$/.test(pathname) ? pathname : 'none'));
    if (!existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)], 'Cache-Control': 'no-store' });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({ origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() });
    });
  });
}

/* Where a player plays 'channel' of the server at 'base'; 'pages' is the origin of serve(). */
export function address({ base, channel }, player, pages) {
  const hls = encodeURIComponent(`${base}/live/${channel}/index.m3u8`);
  const dash = encodeURIComponent(`${base}/live/${channel}/manifest.mpd`);
  switch (player) {
    case 'watch': return `${base}/watch/${channel}`;
    case 'shaka-hls': return `${pages}/pages/shaka.html?src=${hls}`;
    case 'shaka-dash': return `${pages}/pages/shaka.html?src=${dash}`;
    case 'dashjs': return `${pages}/pages/dash.html?src=${dash}`;
    default: throw new Error(`no player ${player}`);
  }
}
