/* probe.js - what every test page offers to players.mjs: window.leat, as on Leat's own watch page. */
export function offer(video, more) {
  const errors = [];
  let stalls = 0;
  let hasPlayed = false;

  video.addEventListener('playing', () => (hasPlayed = true));
  video.addEventListener('waiting', () => {
    if (hasPlayed && !video.seeking) stalls += 1;
  });
  video.addEventListener('error', () => errors.push(`video element: ${video.error?.code} ${video.error?.message}`));
  window.leat = {
    video,
    stats: () => ({
      stalls,
      errors: [...errors],
      currentTime: video.currentTime,
      width: video.videoWidth,
      height: video.videoHeight,
      latencyS: null,
      ...more(),
    }),
  };
  return errors;
}
