/* player.ts - plays one channel and heals by itself: hls.js where Media Source Extensions exist, the
 * browser's own HLS elsewhere (Safari on phones). Knows nothing of the page around it. */
import Hls, { type ErrorData } from 'hls.js';
import { codecs as codecWords } from './format';
import { bufferAheadS, catchUpRate, firstVariant, latencyS } from './live';
import { describe, ENDED, INTERRUPTED, NO_PLAYER, OFFLINE, pauseMs, unsupportedCodec, UNREACHABLE, type Trouble } from './words';

/* connecting → playing ⇄ buffering; any → waiting (asks until the channel is there) → connecting;
 * any → failed (only the viewer's wish starts it again). */
export type Phase = 'connecting' | 'playing' | 'buffering' | 'waiting' | 'failed';

export interface Stats {
  engine: 'hls.js' | 'native' | 'none';
  phase: Phase;
  latencyS: number | null;
  targetLatencyS: number | null;
  width: number;
  height: number;
  frameRate: number;
  bitrate: number | null;
  codecs: string;
  bufferS: number;
  droppedFrames: number;
  totalFrames: number;
  stalls: number;
  restarts: number;
  errors: string[]; /* the last few fatal ones */
  currentTime: number;
}

const KEEP_UP_PERIOD_MS = 200;
/* Seconds behind the live edge. The playlist allows 0.6 (three parts), where any hiccup of a busy machine or network is a
 * stall; this leaves two parts to spare. */
const LIVE_SYNC_S = 1;
const JUMP_BEHIND_S = 1.2; /* further behind the target than speed alone would mend soon */
const JUMP_AGAIN_AFTER_MS = 10000;
const STALL_WORDS_AFTER_MS = 2500; /* a shorter wait gets the spinner only */
const RECOVER_AGAIN_AFTER_MS = 5000;
const ERRORS_KEPT = 20;

const patient = (tries: number) => ({
  default: {
    maxTimeToFirstByteMs: 10000, /* a blocking reload answers within three target durations */
    maxLoadTimeMs: 20000,
    timeoutRetry: { maxNumRetry: tries, retryDelayMs: 200, maxRetryDelayMs: 2000 },
    errorRetry: { maxNumRetry: tries, retryDelayMs: 250, maxRetryDelayMs: 2000 },
  },
});

export class Player {
  hls: Hls | null = null;
  onChange: (phase: Phase, trouble: Trouble | null) => void = () => {};

  private phase: Phase = 'connecting';
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private recoveredAt = -Infinity;
  private jumpedAt = -Infinity;
  private stalls = 0;
  private restarts = 0;
  private errors: string[] = [];
  private readonly engine: Stats['engine'];

  constructor(private readonly video: HTMLVideoElement, private readonly url: string) {
    this.engine = Hls.isSupported() ? 'hls.js'
      : video.canPlayType('application/vnd.apple.mpegurl') !== '' ? 'native' : 'none';
    video.addEventListener('playing', () => this.played());
    video.addEventListener('waiting', () => this.stalled());
    video.addEventListener('ended', () => this.wait(ENDED));
    video.addEventListener('error', () => {
      if (this.engine === 'native') this.nativeFailed();
    });
    setInterval(() => this.keepUp(), KEEP_UP_PERIOD_MS);
  }

  /* Starts, or starts afresh. */
  start(): void {
    clearTimeout(this.timer);
    this.set('connecting', null);
    if (this.engine === 'none') {
      this.set('failed', NO_PLAYER);
      return;
    }
    if (this.engine === 'native') {
      this.video.src = this.url;
      this.play();
      return;
    }
    this.hls?.destroy();
    const hls = new Hls({
      lowLatencyMode: true,
      liveSyncDuration: LIVE_SYNC_S,
      /* Fragments are fMP4 already: nothing worth a worker is left to do, and the page needs no
       * worker-src for blob: URLs. */
      enableWorker: false,
      backBufferLength: 30,
      liveSyncOnStallIncrease: 0.25, /* seconds further from the edge after each stall */
      maxLiveSyncPlaybackRate: 1, /* keepUp() does it: hls.js wants a second of buffer first */
      manifestLoadPolicy: patient(0), /* 404 is an answer: the channel is offline */
      playlistLoadPolicy: patient(4),
      fragLoadPolicy: patient(4),
    });
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_event, data) => {
      if (data.fatal) this.failed(data);
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.play());
    hls.on(Hls.Events.LEVEL_LOADED, (_event, data) => {
      if (!data.details.live && this.phase === 'connecting') this.wait(ENDED);
    });
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  /* To the live edge: after a pause, or at the viewer's wish. */
  goLive(): void {
    const edge = this.hls?.liveSyncPosition ?? this.nativeEdge();
    if (edge !== null && edge > this.video.currentTime) this.video.currentTime = edge;
    this.play();
  }

  stats(): Stats {
    const { video, hls } = this;
    const level = hls?.levels[hls.currentLevel >= 0 ? hls.currentLevel : hls.loadLevel];
    const quality = video.getVideoPlaybackQuality?.();
    return {
      engine: this.engine,
      phase: this.phase,
      latencyS: latencyS(Date.now(), this.pictureMs(), hls ? hls.latency : null),
      targetLatencyS: hls?.targetLatency ?? null,
      width: video.videoWidth,
      height: video.videoHeight,
      frameRate: level?.frameRate ?? 0,
      bitrate: level?.bitrate ?? null,
      codecs: [level?.videoCodec, level?.audioCodec].filter(Boolean).join(','),
      bufferS: this.bufferS(),
      droppedFrames: quality?.droppedVideoFrames ?? 0,
      totalFrames: quality?.totalVideoFrames ?? 0,
      stalls: this.stalls,
      restarts: this.restarts,
      errors: [...this.errors],
      currentTime: video.currentTime,
    };
  }

  private set(phase: Phase, trouble: Trouble | null): void {
    this.phase = phase;
    this.onChange(phase, trouble);
  }

  /* Muted playback may always start by itself; with sound the browser may refuse until a gesture. */
  private play(): void {
    this.video.play().catch((error: unknown) => {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      this.video.muted = true;
      this.video.play().catch(() => {});
    });
  }

  private played(): void {
    clearTimeout(this.timer);
    this.attempt = 0;
    this.set('playing', null);
  }

  /* 'waiting' while playing is a stall; before the first picture it is just the start. */
  private stalled(): void {
    if (this.phase !== 'playing' || this.video.seeking) return;
    this.stalls += 1;
    this.set('buffering', null);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.set('buffering', INTERRUPTED), STALL_WORDS_AFTER_MS);
  }

  /* Holds the distance from the live edge that the playlist asks for: a little by speed, much by a jump (a slow start or a
   * long stall leaves the player seconds behind, and nobody asked to watch the past). */
  private keepUp(): void {
    const { hls, video } = this;
    const edge = hls?.liveSyncPosition ?? null;
    const now = performance.now();

    if (!hls || edge === null || this.phase !== 'playing' || video.paused || video.seeking) return;
    const behindS = edge - video.currentTime;
    video.playbackRate = catchUpRate(behindS, this.bufferS());
    if (behindS < JUMP_BEHIND_S || now - this.jumpedAt < JUMP_AGAIN_AFTER_MS) return;
    this.jumpedAt = now;
    video.currentTime = edge;
  }

  private bufferS(): number {
    const { buffered, currentTime } = this.video;
    const ranges = Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)] as const);
    return bufferAheadS(ranges, currentTime);
  }

  private failed(data: ErrorData): void {
    const status = data.response?.code;
    const trouble = describe({
      type: data.type,
      details: data.details,
      status,
      codecs: codecWords(data.mimeType?.match(/codecs="?([^"]*)/)?.[1] ?? this.levelCodecs()),
    });

    this.note(`${data.details}${status ? ` ${status}` : ''}${data.error ? `: ${data.error.message}` : ''}`);
    switch (trouble.remedy) {
      case 'stop':
        this.hls?.destroy();
        this.hls = null;
        this.set('failed', trouble);
        break;
      case 'recover':
        this.recover(trouble);
        break;
      case 'wait':
      case 'reload':
        this.wait(trouble);
        break;
    }
  }

  /* A second decoder error soon after the first is not healed by another reset. */
  private recover(trouble: Trouble): void {
    const now = performance.now();

    if (now - this.recoveredAt < RECOVER_AGAIN_AFTER_MS) {
      this.wait(trouble);
      return;
    }
    this.recoveredAt = now;
    this.set('buffering', null);
    this.hls?.recoverMediaError();
    this.play();
  }

  private nativeFailed(): void {
    const code = this.video.error?.code ?? 0;

    this.note(`media error ${code}: ${this.video.error?.message ?? ''}`);
    if (code === MediaError.MEDIA_ERR_DECODE) this.set('failed', unsupportedCodec(''));
    else this.wait(OFFLINE);
  }

  /* Asks for the playlist until it is there, then starts afresh. */
  private wait(trouble: Trouble): void {
    this.hls?.destroy();
    this.hls = null;
    this.set('waiting', trouble);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.ask(trouble), pauseMs(this.attempt, Math.random()));
    this.attempt += 1;
  }

  private async ask(trouble: Trouble): Promise<void> {
    try {
      const state = await this.stateOfChannel();
      if (state === 'live') {
        this.restarts += 1;
        this.start();
        return;
      }
      this.wait(state === 'ended' || trouble === ENDED ? ENDED : state === 'absent' ? OFFLINE : trouble);
    } catch {
      this.wait(UNREACHABLE);
    }
  }

  /* An ended channel can still be fetched for a while; only its media playlists say so. */
  private async stateOfChannel(): Promise<'live' | 'ended' | 'absent' | 'unknown'> {
    const get = (url: string) => fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(8000) });
    const index = await get(this.url);
    if (index.status === 404 || index.status === 410) return 'absent';
    const variant = index.ok ? firstVariant(await index.text()) : null;
    if (variant === null) return 'unknown';
    const media = await get(new URL(variant, index.url).href);
    if (!media.ok) return 'unknown';
    return (await media.text()).includes('#EXT-X-ENDLIST') ? 'ended' : 'live';
  }

  private note(error: string): void {
    this.errors.push(error);
    if (this.errors.length > ERRORS_KEPT) this.errors.shift();
  }

  private levelCodecs(): string {
    const level = this.hls?.levels[0];
    return [level?.videoCodec, level?.audioCodec].filter(Boolean).join(',');
  }

  /* The stream's own time of the picture on the screen. */
  private pictureMs(): number | null {
    if (this.hls) return this.hls.playingDate?.getTime() ?? null;
    const start = (this.video as { getStartDate?: () => Date }).getStartDate?.().getTime();
    return start !== undefined && Number.isFinite(start) ? start + this.video.currentTime * 1000 : null;
  }

  private nativeEdge(): number | null {
    const { seekable } = this.video;
    return seekable.length > 0 ? seekable.end(seekable.length - 1) : null;
  }
}
