import { describe, expect, test } from 'vitest';
import { bufferAheadS, catchUpRate, channelOf, channelsOf, firstVariant, latencyS } from '../src/live';

describe('channelOf', () => {
  test.each([
    ['/watch/demo', 'demo'],
    ['/watch/demo/', 'demo'],
    ['/watch/A_b-9', 'A_b-9'],
    ['/watch/', null],
    ['/watch/a/b', null],
    ['/watch/..%2f', null],
    [`/watch/${'x'.repeat(65)}`, null],
    ['/', null],
  ])('%s', (path, name) => {
    expect(channelOf(path)).toBe(name);
  });
});

describe('latencyS', () => {
  test('the picture’s own time is the truth', () => {
    expect(latencyS(10_000, 9_100, 0.6)).toBeCloseTo(0.9);
  });
  test('a viewer’s clock that is off is not believed', () => {
    expect(latencyS(10_000, 11_000, 0.6)).toBe(0.6);
    expect(latencyS(500_000, 9_100, 0.6)).toBe(0.6);
  });
  test('without both there is no number', () => {
    expect(latencyS(10_000, null, 0)).toBeNull();
    expect(latencyS(10_000, null, null)).toBeNull();
  });
});

describe('bufferAheadS', () => {
  test('counts the range that holds the time, over small gaps', () => {
    expect(bufferAheadS([[0, 2], [2.05, 3]], 1)).toBe(2);
    expect(bufferAheadS([[0, 2], [2.5, 3]], 1)).toBe(1);
    expect(bufferAheadS([[0, 2]], 5)).toBe(0);
    expect(bufferAheadS([], 0)).toBe(0);
  });
});

describe('channelsOf', () => {
  test('reads names and tracks, sorted', () => {
    const body = {
      channels: [
        { name: 'zoo', is_live: false },
        { name: 'demo', tracks: [{ kind: 'video', width: 1280, height: 720 }, { kind: 'audio', codec: 'mp4a.40.2' }] },
      ],
    };
    expect(channelsOf(body)).toEqual([
      { name: 'demo', isLive: true, detail: '1280×720 · mp4a.40.2' },
      { name: 'zoo', isLive: false, detail: '' },
    ]);
  });
  test('leaves out what it cannot trust', () => {
    expect(channelsOf({ channels: [{ name: '../x' }, { name: 7 }, null, {}] })).toEqual([]);
    expect(channelsOf(null)).toEqual([]);
    expect(channelsOf({})).toEqual([]);
  });
});

test('firstVariant', () => {
  expect(firstVariant('#EXTM3U\r\n#EXT-X-STREAM-INF:BANDWIDTH=1\r\nvideo.m3u8\r\nb.m3u8\r\n')).toBe('video.m3u8');
  expect(firstVariant('#EXTM3U\n')).toBeNull();
});

test('catchUpRate', () => {
  expect(catchUpRate(0.01, 1)).toBe(1);
  expect(catchUpRate(-1, 1)).toBe(1);
  expect(catchUpRate(1, 0.1)).toBe(1);
  expect(catchUpRate(0.2, 1)).toBe(1.04);
  expect(catchUpRate(5, 1)).toBe(1.08);
  expect(catchUpRate(NaN, 1)).toBe(1);
});
