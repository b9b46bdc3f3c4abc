/* index.ts - the list of live channels, asked for again every few seconds. */
import { byId, element } from './dom';
import { channelsOf, type ChannelEntry } from './live';

const PERIOD_MS = 3000;

const note = byId('note', HTMLElement);
const empty = byId('empty', HTMLElement);
const list = byId('channels', HTMLUListElement);
let shown = '';

function card(channel: ChannelEntry): HTMLLIElement {
  const link = element('a', 'card');
  link.href = `/watch/${channel.name}`;
  link.append(
    element('span', 'card-name', '', element('span', channel.isLive ? 'dot' : 'dot waiting'),
      document.createTextNode(channel.name)),
    element('span', 'card-detail', channel.isLive ? channel.detail || 'Live' : 'Interrupted'),
  );
  return element('li', '', '', link);
}

function show(channels: ChannelEntry[]): void {
  const state = JSON.stringify(channels);
  note.hidden = true;
  if (state === shown) return; /* keeps the keyboard's focus where it is */
  shown = state;
  list.replaceChildren(...channels.map(card));
  empty.hidden = channels.length > 0;
}

async function refresh(): Promise<void> {
  try {
    const answer = await fetch('/api/channels.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(channelsOf(await answer.json()));
  } catch (error) {
    note.textContent = `The list cannot be loaded: ${error instanceof Error ? error.message : String(error)}. Trying again…`;
    note.hidden = false;
  }
  setTimeout(() => void refresh(), PERIOD_MS);
}

const server = `rtmp://${location.hostname}/live`;
byId('server', HTMLElement).textContent = server;
byId('command', HTMLElement).textContent =
  `ffmpeg -re -i FILE -c:v libx264 -tune zerolatency -g 60 -c:a aac -f flv '${server}/NAME?key=KEY'`;
void refresh();
