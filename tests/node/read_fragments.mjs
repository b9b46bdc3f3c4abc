// Reads files of one CMAF track each with mp4box.js; prints what it saw as one line of JSON a file.
//   node read_fragments.mjs FILE…
import { readFileSync } from 'node:fs';
import { createFile, Log } from 'mp4box';

const complaints = [];
Log.setLogLevel(Log.LOG_LEVEL_WARNING ?? Log.warn ?? 3);
for (const level of ['warn', 'error'])
  Log[level] = (module, message) => {
    // Said of any box that the library meets twice and has no list for: it is one a segment here.
    if (!/multiple boxes of type prft/.test(message))
      complaints.push(`${level} ${module}: ${message}`);
  };

for (const path of process.argv.slice(2)) {
  complaints.length = 0;
  const file = createFile(true); // keeps mdat
  const samples = [];
  let info = null;
  file.onError = (error) => complaints.push(`onError: ${error}`);
  file.onReady = (ready) => {
    info = ready;
    file.setExtractionOptions(ready.tracks[0].id, null, { nbSamples: 1000000 });
    file.start();
  };
  file.onSamples = (id, user, list) => {
    for (const s of list)
      samples.push([s.dts, s.cts, s.duration, s.is_sync, s.size, s.data.byteLength]);
  };
  const bytes = readFileSync(path);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  buffer.fileStart = 0;
  file.appendBuffer(buffer, true);
  file.flush();
  const top = file.boxes.map((b) => b.type);
  console.log(JSON.stringify({
    path,
    complaints,
    codec: info?.tracks[0].codec ?? null,
    timescale: info?.tracks[0].timescale ?? 0,
    trackCount: info?.tracks.length ?? 0,
    moofCount: top.filter((t) => t === 'moof').length,
    prftCount: top.filter((t) => t === 'prft').length,
    unknown: [...new Set(top.filter((t) => !['ftyp', 'moov', 'moof', 'mdat', 'prft'].includes(t)))],
    samples,
  }));
}
