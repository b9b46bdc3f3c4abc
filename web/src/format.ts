/* format.ts - numbers and codec strings as people read them. Pure. */

export function seconds(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '–';
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

export function bitrate(bitsPerSecond: number | null): string {
  if (bitsPerSecond === null || !(bitsPerSecond > 0)) return '–';
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond < 1e7 ? 2 : 1)} Mb/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kb/s`;
}

export function picture(width: number, height: number, frameRate?: number): string {
  if (!(width > 0 && height > 0)) return '–';
  const rate = frameRate && frameRate > 0 ? `, ${Number(frameRate.toFixed(2))} fps` : '';
  return `${width}×${height}${rate}`;
}

const AVC_PROFILES: Record<number, string> = { 66: 'Baseline', 77: 'Main', 88: 'Extended', 100: 'High', 110: 'High 10' };

/* One RFC 6381 codec string in words: "avc1.64001f" is "H.264 High 3.1". */
export function codec(rfc6381: string): string {
  const [kind = '', rest = ''] = rfc6381.trim().split(/\.(.*)/s);
  switch (kind.toLowerCase()) {
    case 'avc1':
    case 'avc3': {
      const profile = AVC_PROFILES[parseInt(rest.slice(0, 2), 16)];
      const level = parseInt(rest.slice(4, 6), 16);
      if (profile === undefined || Number.isNaN(level)) return 'H.264';
      return `H.264 ${profile} ${(level / 10).toFixed(1)}`;
    }
    case 'hvc1':
    case 'hev1':
      return 'HEVC';
    case 'av01':
      return 'AV1';
    case 'vp09':
      return 'VP9';
    case 'mp4a':
      return rest.startsWith('40.') ? (rest === '40.2' ? 'AAC' : 'HE-AAC') : 'MPEG audio';
    case 'opus':
      return 'Opus';
    default:
      return rfc6381.trim();
  }
}

export function codecs(list: string): string {
  const names = list.split(',').filter((entry) => entry.trim() !== '').map(codec);
  return names.length > 0 ? names.join(' + ') : '–';
}
