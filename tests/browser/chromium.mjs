/* chromium.mjs - Debian's Chromium, headless, quiet on the network, with its pages never throttled. */
import { chromium } from 'playwright-core';

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
      '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
    ],
  });
}

/* A page in a context of its own, with what it complains about collected in 'complaints'. */
export async function open(browser, url, viewport = { width: 640, height: 480 }) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`script error: ${error.message}`));
  page.on('console', (message) => {
    /* A failed load is judged by what the player makes of it. */
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text());
  });
  page.on('crash', () => complaints.push('the page crashed'));
  await page.goto(url);
  return { page, complaints };
}

/* What the page shows and says now: its own stats and a small picture of the frame on the screen. */
export function sample(page) {
  return page.evaluate(() => {
    const canvas = (window.leatCanvas ??= Object.assign(document.createElement('canvas'), { width: 32, height: 18 }));
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const { video } = window.leat;
    context.drawImage(video, 0, 0, 32, 18);
    const { data } = context.getImageData(0, 0, 32, 18);
    const luma = [];
    for (let i = 0; i < data.length; i += 4) luma.push(Math.round(0.3 * data[i] + 0.59 * data[i + 1] + 0.11 * data[i + 2]));
    return { at: Date.now(), ...window.leat.stats(), paused: video.paused, readyState: video.readyState, luma };
  });
}
