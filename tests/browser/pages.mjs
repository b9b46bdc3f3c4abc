/* pages.mjs - what the pages say while a channel comes, goes and comes back.
 *
 *   node pages.mjs --base http://HOST:PORT --channel NAME
 *
 * Prints "publish" and "stop" when it wants that done and waits for a line on its standard input; prints "failed WHY",
 * or a line for each thing that was as it should be. */
import { parseArgs } from 'node:util';
import { createInterface } from 'node:readline';
import { launch, open } from './chromium.mjs';

const { values: options } = parseArgs({ options: { base: { type: 'string' }, channel: { type: 'string' } } });
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(what) {
  console.log(what);
  await answers.next();
}

async function expectText(page, selector, words, ms = 15000) {
  await page.locator(selector).filter({ hasText: words }).waitFor({ state: 'visible', timeout: ms }).catch(async () => {
    throw new Error(`expected "${words}" in ${selector}, got "${await page.locator(selector).textContent()}"`);
  });
}

const browser = await launch();
try {
  const list = await open(browser, `${options.base}/`);
  await expectText(list.page, '#empty', 'Nobody is live');
  const watch = await open(browser, `${options.base}/watch/${options.channel}`);
  await expectText(watch.page, '#title', 'offline');
  await ask('both pages say that nobody is live');

  await ask('publish');
  await expectText(list.page, '.card-name', options.channel);
  await expectText(watch.page, '#badge', 'Live', 20000);
  await expectText(watch.page, '#s-picture', '640×360');
  await expectText(watch.page, '#s-codecs', 'H.264');
  await expectText(watch.page, '#s-codecs', 'AAC');
  await ask('the list shows the channel, the player started by itself and says what it plays');

  await watch.page.locator('#unmute').click();
  if (await watch.page.evaluate(() => window.leat.video.muted)) throw new Error('the unmute button does nothing');
  await watch.page.keyboard.press('m');
  if (!(await watch.page.evaluate(() => window.leat.video.muted))) throw new Error('the m key does nothing');
  await watch.page.keyboard.press('k');
  if (!(await watch.page.evaluate(() => window.leat.video.paused))) throw new Error('the k key does nothing');
  await watch.page.keyboard.press('k');
  if (await watch.page.evaluate(() => window.leat.video.paused)) throw new Error('the k key does not play on');
  await ask('buttons and keys work');

  await ask('stop');
  await expectText(watch.page, '#title', /interrupted|offline|ended/, 20000);
  await expectText(list.page, '#empty', 'Nobody is live');
  await ask('publish');
  await expectText(watch.page, '#badge', 'Live', 20000);
  await ask('after the channel was gone the player started again by itself');

  const complaints = [...list.complaints, ...watch.complaints];
  if (complaints.length > 0) throw new Error(`the console says: ${complaints.join('; ')}`);
} catch (error) {
  console.log(`failed ${error.message.replaceAll('\n', ' ')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
