/* words.ts - what went wrong, in words for a viewer, and what the player does about it. Pure. */

/* What the player does next:
 *   wait     the channel is not live: ask again until it is, then start afresh
 *   reload   start afresh after a pause
 *   recover  reset the decoder, keep the playlist
 *   stop     nothing that waiting would mend */
export type Remedy = 'wait' | 'reload' | 'recover' | 'stop';

export interface Trouble {
  title: string;
  detail: string;
  remedy: Remedy;
}

/* The parts of an hls.js error that decide. 'details' are its ErrorDetails strings. */
export interface PlayerError {
  type: string;
  details: string;
  status?: number | undefined; /* HTTP; 0: no answer */
  codecs?: string | undefined;
}

export const OFFLINE: Trouble = {
  title: 'The channel is offline',
  detail: 'Playback starts by itself when the creator is live.',
  remedy: 'wait',
};

export const INTERRUPTED: Trouble = {
  title: 'The creator’s connection is interrupted',
  detail: 'Playback goes on by itself when the stream is back.',
  remedy: 'wait',
};

export const ENDED: Trouble = {
  title: 'The stream has ended',
  detail: 'Playback starts by itself when the creator is live again.',
  remedy: 'wait',
};

export const UNREACHABLE: Trouble = {
  title: 'The server cannot be reached',
  detail: 'Check your network. Trying again…',
  remedy: 'reload',
};

export const NO_PLAYER: Trouble = {
  title: 'This browser cannot play live streams',
  detail: 'It has neither Media Source Extensions nor HLS of its own. Any current browser has one of them.',
  remedy: 'stop',
};

export function unsupportedCodec(codecs: string): Trouble {
  return {
    title: 'This browser cannot play the stream’s codec',
    detail: codecs
      ? `The stream is ${codecs}. Another browser may play it.`
      : 'Another browser may play it.',
    remedy: 'stop',
  };
}

const CODEC_DETAILS = new Set([
  'manifestIncompatibleCodecsError',
  'bufferAddCodecError',
  'bufferIncompatibleCodecsError',
]);

/* Words and remedy for an error that hls.js calls fatal. */
export function describe(error: PlayerError): Trouble {
  if (CODEC_DETAILS.has(error.details)) return unsupportedCodec(error.codecs ?? '');
  if (error.type === 'mediaError') {
    return { title: 'The picture could not be decoded', detail: 'Starting the decoder again…', remedy: 'recover' };
  }
  if (error.type !== 'networkError') {
    return { title: 'The player failed', detail: `Starting again… (${error.details})`, remedy: 'reload' };
  }
  const status = error.status ?? 0;
  if (status === 404 || status === 410) return OFFLINE;
  if (status === 401 || status === 403) {
    return { title: 'You may not watch this channel', detail: `The server refused (${status}).`, remedy: 'stop' };
  }
  if (status >= 500) {
    return { title: 'The server is busy or restarting', detail: `It answered ${status}. Trying again…`, remedy: 'reload' };
  }
  if (status >= 400) {
    return { title: 'The server refused the request', detail: `It answered ${status}. Trying again…`, remedy: 'reload' };
  }
  if (error.details === 'manifestParsingError' || error.details === 'levelEmptyError') {
    return { title: 'The stream is starting', detail: 'Its playlist is not ready yet. Trying again…', remedy: 'reload' };
  }
  return UNREACHABLE;
}

/* Pause before the n-th try (n from 0): 0.5 s, doubling up to 4 s, so that a returning creator is
 * seen soon and thousands of waiting viewers cost little. 'random' in [0, 1) spreads them. */
export function pauseMs(attempt: number, random: number): number {
  const base = Math.min(500 * 2 ** Math.min(attempt, 10), 4000);
  return Math.round(base * (0.75 + random / 2));
}
