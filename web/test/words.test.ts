import { describe as group, expect, test } from 'vitest';
import { describe, OFFLINE, pauseMs, UNREACHABLE } from '../src/words';

group('describe', () => {
  const network = (status?: number, details = 'levelLoadError') => describe({ type: 'networkError', details, status });

  test('a missing channel is offline and waited for', () => {
    expect(network(404)).toBe(OFFLINE);
    expect(network(410, 'fragLoadError')).toBe(OFFLINE);
  });
  test('no answer means that the server is out of reach', () => {
    expect(network(0)).toBe(UNREACHABLE);
    expect(network(undefined, 'manifestLoadTimeOut')).toBe(UNREACHABLE);
  });
  test('a refusal stops, an overload is tried again', () => {
    expect(network(403).remedy).toBe('stop');
    expect(network(503)).toMatchObject({ remedy: 'reload', detail: expect.stringContaining('503') });
    expect(network(400).remedy).toBe('reload');
  });
  test('a codec that the browser lacks is named and not tried again', () => {
    const trouble = describe({ type: 'mediaError', details: 'bufferAddCodecError', codecs: 'HEVC' });
    expect(trouble.remedy).toBe('stop');
    expect(trouble.detail).toContain('HEVC');
  });
  test('a decoder error resets the decoder', () => {
    expect(describe({ type: 'mediaError', details: 'bufferAppendError' }).remedy).toBe('recover');
  });
  test('anything else starts afresh and says what it was', () => {
    const trouble = describe({ type: 'otherError', details: 'internalException' });
    expect(trouble.remedy).toBe('reload');
    expect(trouble.detail).toContain('internalException');
  });
});

test('pauses grow, are bounded and spread', () => {
  expect(pauseMs(0, 0.5)).toBe(500);
  expect(pauseMs(2, 0.5)).toBe(2000);
  expect(pauseMs(1000, 0.5)).toBe(4000);
  expect(pauseMs(3, 0)).toBe(3000);
  expect(pauseMs(3, 0.999)).toBeLessThanOrEqual(5000);
});
