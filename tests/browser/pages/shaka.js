/* Shaka Player in low-latency mode on ?src=URL, HLS or DASH. */
import { offer } from './probe.js';

const video = document.getElementById('video');
const source = new URL(location.href).searchParams.get('src');
const player = new shaka.Player();
/* Shaka counts from 1970 while it does not know when the presentation began. */
const liveLatency = () => (player.isLive() ? player.getStats().liveLatency : NaN);
const errors = offer(video, () => ({
  latencyS: liveLatency() < 1e6 ? liveLatency() : null,
  player: `Shaka ${shaka.Player.version}`,
}));

shaka.polyfill.installAll();
player.addEventListener('error', (event) => errors.push(`Shaka ${event.detail.code}: ${event.detail.message ?? ''}`));
player.configure({
  streaming: {
    lowLatencyMode: true,
    /* A SegmentTimeline shows Shaka a segment when it begins, and it plays it when it is whole: at the delay that the
     * manifest suggests, not at the low-latency target, which would leave it dry. */
    liveSync: { enabled: source.endsWith('.m3u8') },
    /* While the creator is away the manifest does not change: that is no reason to give up. */
    retryParameters: { maxAttempts: 8, baseDelay: 250, timeout: 20000 },
  },
  manifest: { retryParameters: { maxAttempts: 8, baseDelay: 250, timeout: 20000 } },
});
try {
  await player.attach(video);
  await player.load(source);
  await video.play();
} catch (error) {
  errors.push(`Shaka load: ${error.code ?? ''} ${error.message ?? error}`);
}
