/* watch.ts - the page at /watch/NAME: the player's controls, words and numbers. */
import { byId } from './dom';
import * as format from './format';
import { channelOf, playlistUrl } from './live';
import { Player, type Phase, type Stats } from './player';
import type { Trouble } from './words';

declare global {
  interface Window {
    /* For tests and for the curious. */
    leat: { readonly hls: Player['hls']; readonly video: HTMLVideoElement; stats(): Stats };
  }
}

const BADGES: Record<Phase, string> = {
  connecting: 'Connecting',
  playing: 'Live',
  buffering: 'Buffering',
  waiting: 'Waiting',
  failed: 'Stopped',
};
const STATS_PERIOD_MS = 250;
const IDLE_AFTER_MS = 3000;
const LATE_AFTER_S = 3; /* beyond the target: the live button offers to catch up */

const frame = byId('player', HTMLDivElement);
const video = byId('video', HTMLVideoElement);
const badge = byId('badge', HTMLElement);
const message = byId('message', HTMLDivElement);
const unmute = byId('unmute', HTMLButtonElement);
const play = byId('play', HTMLButtonElement);
const mute = byId('mute', HTMLButtonElement);
const volume = byId('volume', HTMLInputElement);
const live = byId('live', HTMLButtonElement);
const retry = byId('retry', HTMLButtonElement);
const name = byId('name', HTMLElement);

function showPhase(phase: Phase, trouble: Trouble | null): void {
  badge.dataset['phase'] = phase;
  badge.textContent = BADGES[phase];
  message.hidden = phase === 'playing';
  frame.classList.toggle('playing', phase === 'playing' || phase === 'buffering');
  byId('spinner', HTMLElement).hidden = phase === 'failed';
  byId('title', HTMLElement).textContent = trouble?.title ?? '';
  byId('detail', HTMLElement).textContent = trouble?.detail ?? '';
  retry.hidden = !(phase === 'waiting' || phase === 'failed');
}

function showControls(): void {
  frame.classList.toggle('paused', video.paused);
  frame.classList.toggle('muted', video.muted || video.volume === 0);
  play.setAttribute('aria-label', video.paused ? 'Play' : 'Pause');
  mute.setAttribute('aria-label', video.muted ? 'Unmute' : 'Mute');
  volume.value = String(video.muted ? 0 : video.volume);
  unmute.hidden = !video.muted;
}

function showStats(s: Stats): void {
  const put = (id: string, text: string) => {
    byId(id, HTMLElement).textContent = text;
  };
  const isPlaying = s.phase === 'playing' || s.phase === 'buffering';
  const isLate = s.latencyS !== null && s.targetLatencyS !== null && s.latencyS > s.targetLatencyS + LATE_AFTER_S;

  put('behind', isPlaying && s.latencyS !== null ? `Live −${format.seconds(s.latencyS)}` : 'Live');
  live.classList.toggle('late', isLate || video.paused);
  put('quality-now', isPlaying ? `${format.picture(s.width, s.height)} · ${format.bitrate(s.bitrate)}` : '');
  put('s-latency', isPlaying ? format.seconds(s.latencyS) : '–');
  put('s-picture', format.picture(s.width, s.height, s.frameRate));
  put('s-bitrate', format.bitrate(s.bitrate));
  put('s-codecs', format.codecs(s.codecs));
  put('s-buffer', format.seconds(s.bufferS));
  put('s-dropped', `${s.droppedFrames} of ${s.totalFrames}`);
  put('s-stalls', String(s.stalls));
  put('s-engine', { 'hls.js': 'hls.js, low latency', native: 'the browser’s own', none: 'none' }[s.engine]);
}

/* Controls fade while nothing moves and the picture plays. */
function watchIdle(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wake = () => {
    frame.classList.remove('idle');
    clearTimeout(timer);
    timer = setTimeout(() => frame.classList.toggle('idle', !video.paused), IDLE_AFTER_MS);
  };
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) frame.addEventListener(event, wake);
  wake();
}

function wire(player: Player): void {
  const togglePlay = () => {
    if (video.paused) player.goLive();
    else video.pause();
  };
  const toggleMute = () => {
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 1;
  };
  const toggleFull = () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (frame.requestFullscreen) void frame.requestFullscreen().catch(() => {});
    else (video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.(); /* iPhone */
  };
  const keys: Record<string, () => void> = {
    k: togglePlay, m: toggleMute, f: toggleFull, l: () => player.goLive(),
  };

  play.addEventListener('click', togglePlay);
  video.addEventListener('click', togglePlay);
  mute.addEventListener('click', toggleMute);
  unmute.addEventListener('click', toggleMute);
  byId('full', HTMLButtonElement).addEventListener('click', toggleFull);
  live.addEventListener('click', () => player.goLive());
  retry.addEventListener('click', () => player.start());
  volume.addEventListener('input', () => {
    video.volume = volume.valueAsNumber;
    video.muted = video.volume === 0;
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const action = event.key === ' ' && event.target === document.body ? togglePlay : keys[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  for (const event of ['play', 'pause', 'volumechange']) video.addEventListener(event, showControls);
}

function main(): void {
  const channel = channelOf(location.pathname);
  if (channel === null) {
    showPhase('failed', { title: 'No such channel', detail: 'The address is /watch/NAME.', remedy: 'stop' });
    retry.hidden = true;
    return;
  }
  name.textContent = channel;
  document.title = `${channel} – Leat`;

  const player = new Player(video, playlistUrl(channel));
  window.leat = {
    get hls() { return player.hls; },
    video,
    stats: () => player.stats(),
  };
  video.muted = true;
  player.onChange = showPhase;
  wire(player);
  watchIdle();
  showControls();
  player.start();
  setInterval(() => showStats(player.stats()), STATS_PERIOD_MS);
}

main();
