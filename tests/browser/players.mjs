/* players.mjs - plays a channel in several players at once, each in a page of its own, and judges what they show.
 *
 *   node players.mjs --base http://HOST:PORT --channel NAME [--seconds 60] [--players watch,shaka-hls,…]
 *                    [--interrupted] [--screenshot FILE]
 *
 * Prints one line "PLAYER ok WORDS" or "PLAYER failed WORDS" each. With --interrupted the publisher is taken away and
 * comes back meanwhile: stalls are expected, and the last eight seconds must play as if nothing had been. */
import { parseArgs } from 'node:util';
import { launch, open, sample } from './chromium.mjs';
import { address, serve } from './serve.mjs';

const PERIOD_MS = 500;
const START_MS_MAX = 25000;
const SETTLE_MS = 6000; /* players find their distance from the live edge */
const HEALED_MS = 8000;

const { values: options } = parseArgs({
  options: {
    base: { type: 'string' },
    channel: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    players: { type: 'string', default: 'watch,shaka-hls,shaka-dash,dashjs' },
    interrupted: { type: 'boolean', default: false },
    screenshot: { type: 'string' },
  },
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const meanDifference = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;

/* Until the picture moves; returns the milliseconds that it took. */
async function started(page, complaints) {
  const began = Date.now();
  for (;;) {
    const now = await sample(page).catch(() => null);
    if (now && now.readyState >= 3 && !now.paused && now.currentTime > 0) return Date.now() - began;
    if (Date.now() - began > START_MS_MAX) {
      throw new Error(`not playing after ${START_MS_MAX} ms: ${JSON.stringify({ ...now, luma: undefined })} ${complaints.join('; ')}`);
    }
    await sleep(100);
  }
}

async function watch(page, ms) {
  const samples = [];
  const end = Date.now() + ms;
  while (Date.now() < end) {
    samples.push(await sample(page));
    await sleep(PERIOD_MS);
  }
  return samples;
}

/* What is wrong with the samples, in words; none: nothing. */
function judge(samples, complaints) {
  const first = samples[0];
  const last = samples[samples.length - 1];
  const wallS = (last.at - first.at) / 1000;
  const playedS = last.currentTime - first.currentTime;
  const moves = samples.slice(1).map((s, i) => meanDifference(s.luma, samples[i].luma));
  const still = moves.filter((difference) => difference < 0.5).length;
  const wrong = [];

  if (last.stalls > first.stalls) wrong.push(`${last.stalls - first.stalls} stalls`);
  if (last.errors.length > first.errors.length) wrong.push(`errors: ${last.errors.slice(first.errors.length).join('; ')}`);
  if (complaints.length > 0) wrong.push(`complaints: ${complaints.slice(0, 3).join('; ')}`);
  /* Players may trim their speed by 5 % or so to hold their latency. */
  if (Math.abs(playedS - wallS) > 0.5 + 0.06 * wallS) wrong.push(`played ${playedS.toFixed(1)} s in ${wallS.toFixed(1)} s`);
  if (still > moves.length / 10) wrong.push(`${still} of ${moves.length} times the picture stood still`);
  if (Math.max(...last.luma) - Math.min(...last.luma) < 40) wrong.push('the picture is blank');
  return wrong;
}

async function play(browser, player, pages) {
  const { page, complaints } = await open(browser, address(options, player, pages));
  try {
    const startMs = await started(page, complaints);
    await page.evaluate(() => (window.leatMark = true));
    let samples = options.interrupted ? [] : await watch(page, SETTLE_MS).then(() => []);
    samples = await watch(page, 1000 * Number(options.seconds));
    if (options.interrupted) {
      samples = samples.filter((s) => s.at > samples[samples.length - 1].at - HEALED_MS);
      complaints.length = 0;
      if (!(await page.evaluate(() => window.leatMark === true))) throw new Error('the page was loaded again');
    }
    const wrong = judge(samples, complaints);
    const last = samples[samples.length - 1];
    const latencies = samples.map((s) => s.latencyS).filter((s) => s !== null);
    const words = [
      `started in ${(startMs / 1000).toFixed(1)} s`,
      latencies.length > 0 ? `latency median ${median(latencies).toFixed(2)} s, most ${Math.max(...latencies).toFixed(2)} s` : 'latency unknown',
      `${last.width}x${last.height}`,
    ].join(', ');
    if (player === 'watch' && options.screenshot) {
      await page.setViewportSize({ width: 1280, height: 860 });
      await sleep(500);
      await page.screenshot({ path: options.screenshot });
    }
    return wrong.length > 0 ? `failed ${wrong.join(', ')} (${words})` : `ok ${words}`;
  } catch (error) {
    return `failed ${error.message}`;
  } finally {
    await page.context().close();
  }
}

const pages = await serve();
const browser = await launch();
const players = options.players.split(',');
const results = await Promise.all(players.map((player) => play(browser, player, pages.origin)));
players.forEach((player, i) => console.log(`${player} ${results[i].replaceAll('\n', ' ')}`));
await browser.close();
pages.close();
process.exitCode = results.every((result) => result.startsWith('ok')) ? 0 : 1;
