import { describe, expect, test } from 'vitest';
import { bitrate, codec, codecs, picture, seconds } from '../src/format';

describe('numbers', () => {
  test('seconds', () => {
    expect(seconds(0.914)).toBe('0.91 s');
    expect(seconds(12.34)).toBe('12.3 s');
    expect(seconds(null)).toBe('–');
    expect(seconds(NaN)).toBe('–');
  });
  test('bit rates', () => {
    expect(bitrate(2_500_000)).toBe('2.50 Mb/s');
    expect(bitrate(12_000_000)).toBe('12.0 Mb/s');
    expect(bitrate(96_400)).toBe('96 kb/s');
    expect(bitrate(0)).toBe('–');
  });
  test('picture', () => {
    expect(picture(1280, 720, 30)).toBe('1280×720, 30 fps');
    expect(picture(1920, 1080, 30000 / 1001)).toBe('1920×1080, 29.97 fps');
    expect(picture(640, 360)).toBe('640×360');
    expect(picture(0, 0)).toBe('–');
  });
});

describe('codecs', () => {
  test.each([
    ['avc1.64001f', 'H.264 High 3.1'],
    ['avc1.42c01e', 'H.264 Baseline 3.0'],
    ['avc1', 'H.264'],
    ['hvc1.1.6.L93.B0', 'HEVC'],
    ['av01.0.04M.08', 'AV1'],
    ['vp09.00.30.08', 'VP9'],
    ['mp4a.40.2', 'AAC'],
    ['mp4a.40.5', 'HE-AAC'],
    ['Opus', 'Opus'],
    ['wvtt', 'wvtt'],
  ])('%s is %s', (string, words) => {
    expect(codec(string)).toBe(words);
  });
  test('lists', () => {
    expect(codecs('avc1.4d401f,mp4a.40.2')).toBe('H.264 Main 3.1 + AAC');
    expect(codecs('')).toBe('–');
  });
});
