/* dash.js in low-latency mode on ?src=URL. */
import { offer } from './probe.js';

const video = document.getElementById('video');
const source = new URL(location.href).searchParams.get('src');
const player = dashjs.MediaPlayer().create();
const errors = offer(video, () => ({
  latencyS: player.isReady() ? player.getCurrentLiveLatency() : null,
  player: `dash.js ${player.getVersion()}`,
}));

player.on(dashjs.MediaPlayer.events.ERROR, (event) => errors.push(`dash.js ${event.error?.code}: ${event.error?.message}`));
player.updateSettings({
  streaming: {
    /* The delay comes from the MPD's ServiceDescription. */
    liveCatchup: { enabled: true },
  },
});
player.initialize(video, source, true);
