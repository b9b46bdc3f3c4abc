// Reads every playlist in the directories given: hls-parser in strict mode must accept it, and
// m3u8-parser must have nothing to warn of.
//
//   node check_playlists.mjs DIRECTORY…
import fs from 'node:fs';
import path from 'node:path';
import HLS from 'hls-parser';
import { Parser } from 'm3u8-parser';

HLS.setOptions({ strictMode: true, silent: true });

function strictErrors(text) {
  try {
    const playlist = HLS.parse(text);
    return playlist ? [] : ['hls-parser: nothing parsed'];
  } catch (error) {
    return [`hls-parser: ${error.message}`];
  }
}

function warnings(text) {
  const parser = new Parser();
  const found = [];
  for (const level of ['warn', 'error'])
    parser.on(level, (event) => found.push(`m3u8-parser: ${event.message}`));
  parser.push(text);
  parser.end();
  return found;
}

let count = 0;
let failed = 0;
for (const directory of process.argv.slice(2)) {
  for (const name of fs.readdirSync(directory).sort()) {
    if (!name.endsWith('.m3u8'))
      continue;
    const text = fs.readFileSync(path.join(directory, name), 'utf8');
    const complaints = [...strictErrors(text), ...warnings(text)];
    count++;
    if (complaints.length > 0 && failed++ < 20)
      console.log(`${name}: ${complaints.join('; ')}`);
  }
}
console.log(`${count} playlists, ${failed} complained of`);
process.exit(failed > 0 || count === 0 ? 1 : 0);
