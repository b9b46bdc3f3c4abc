/* live.ts - addresses and clocks of a live channel. Pure. */

const CHANNEL_NAME = /^[A-Za-z0-9_-]{1,64}$/;

/* The channel of "/watch/NAME"; null: no valid name. */
export function channelOf(path: string): string | null {
  const match = /^\/watch\/([^/]+)\/?$/.exec(path);
  return match?.[1] !== undefined && CHANNEL_NAME.test(match[1]) ? match[1] : null;
}

export function playlistUrl(channel: string): string {
  return `/live/${channel}/index.m3u8`;
}

/* URI of the first media playlist that a multivariant playlist names; null: none. */
export function firstVariant(playlist: string): string | null {
  return playlist.split('\n').map((line) => line.trim()).find((line) => line !== '' && !line.startsWith('#')) ?? null;
}

/* Seconds between capture and now. The stream's own clock (PROGRAM-DATE-TIME of the picture on the
 * screen) is the truth when the viewer's clock agrees with it; a value that cannot be (negative, or
 * more than a minute away from the player's own estimate) means that it does not, and the estimate, the
 * distance to the end of the playlist, is shown instead. */
export function latencyS(nowMs: number, pictureMs: number | null, estimateS: number | null): number | null {
  const estimate = estimateS !== null && Number.isFinite(estimateS) && estimateS > 0 ? estimateS : null;
  if (pictureMs === null || !Number.isFinite(pictureMs)) return estimate;
  const measured = (nowMs - pictureMs) / 1000;
  if (measured < 0) return estimate;
  if (estimate !== null && Math.abs(measured - estimate) > 60) return estimate;
  return measured;
}

/* Seconds buffered ahead of 'time' in the range that holds it. A gap of up to 'gapS' is played over. */
export function bufferAheadS(ranges: ReadonlyArray<readonly [number, number]>, time: number, gapS = 0.1): number {
  let end: number | null = null;
  for (const [from, to] of ranges) {
    if (end === null ? from <= time + gapS && time < to : from <= end + gapS) end = to;
  }
  return end === null ? 0 : end - time;
}

/* Playback rate that brings a player 'behindS' seconds behind its target back to it unnoticed: up to 8 % faster, and only
 * with something to play from. */
export function catchUpRate(behindS: number, bufferS: number): number {
  if (!(behindS > 0.05) || bufferS < 0.25) return 1;
  return 1 + Math.round(100 * Math.min(0.08, behindS * 0.2)) / 100;
}

export interface ChannelEntry {
  name: string;
  isLive: boolean;
  detail: string;
}

/* Reads /api/channels.json; entries without a valid name are left out. */
export function channelsOf(body: unknown): ChannelEntry[] {
  const list = (body as { channels?: unknown } | null)?.channels;
  if (!Array.isArray(list)) return [];
  const entries: ChannelEntry[] = [];
  for (const item of list as Record<string, unknown>[]) {
    const name = item?.['name'];
    if (typeof name !== 'string' || !CHANNEL_NAME.test(name)) continue;
    entries.push({ name, isLive: item['is_live'] !== false, detail: trackWords(item['tracks']) });
  }
  return entries.sort((a, b) => a.name.localeCompare(b.name));
}

function trackWords(tracks: unknown): string {
  if (!Array.isArray(tracks)) return '';
  const words: string[] = [];
  for (const track of tracks as Record<string, unknown>[]) {
    const { width, height, codec } = track ?? {};
    if (typeof width === 'number' && typeof height === 'number' && width > 0) words.push(`${width}×${height}`);
    else if (typeof codec === 'string' && codec !== '') words.push(codec);
  }
  return words.join(' · ');
}
