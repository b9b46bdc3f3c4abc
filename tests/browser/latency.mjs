/* latency.mjs - glass to glass: reads the time that the publisher burnt into the picture, in the frame on the screen.
 *
 *   node latency.mjs --base http://HOST:PORT --channel NAME --seconds 30 --players watch,dashjs
 *
 * The strip at the top of the picture is 24 squares, each a bit of the milliseconds since 1970 when the frame was made, least
 * first (bench/macro/latency draws it). Prints a JSON line {player, latenciesMs, saysMs} each, "saysMs" being what the page
 * shows. */
import { parseArgs } from 'node:util';
import { launch, open } from './chromium.mjs';
import { address, serve } from './serve.mjs';

const SETTLE_MS = 15000; /* players find their distance from the live edge */

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    channel: { type: 'string' },
    seconds: { type: 'string', default: '30' },
    players: { type: 'string', default: 'watch' },
  },
});

/* In the page: one sample for each frame shown. */
function collect({ ms, settleMs }) {
  const BITS = 24;
  const { video } = window.leat;
  const canvas = Object.assign(document.createElement('canvas'), { width: BITS * 4, height: 4 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const latencies = [];
  const says = [];
  const began = Date.now();

  return new Promise((resolve) => {
    const onFrame = () => {
      const now = Date.now();
      const { videoWidth: width } = video;
      context.drawImage(video, 0, 0, width, width / BITS, 0, 0, BITS * 4, 4);
      const { data } = context.getImageData(0, 2, BITS * 4, 1);
      let stamp = 0;
      for (let bit = 0; bit < BITS; bit += 1) if (data[(bit * 4 + 2) * 4 + 1] > 127) stamp += 2 ** bit;
      if (now - began > settleMs) {
        latencies.push((now - stamp) % 2 ** BITS);
        const { latencyS } = window.leat.stats();
        if (latencyS !== null) says.push(latencyS * 1000);
      }
      if (now - began > ms + settleMs) resolve({ latenciesMs: latencies, saysMs: says });
      else video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  });
}

const pages = await serve();
const browser = await launch();
for (const player of options.players.split(',')) {
  const { page } = await open(browser, address(options, player, pages.origin));
  await page.waitForFunction(() => window.leat?.video.readyState >= 3 && window.leat.video.currentTime > 0, null, { timeout: 25000 });
  const ms = 1000 * Number(options.seconds);
  console.log(JSON.stringify({ player, ...(await page.evaluate(collect, { ms, settleMs: SETTLE_MS })) }));
  await page.context().close();
}
await browser.close();
pages.close();
