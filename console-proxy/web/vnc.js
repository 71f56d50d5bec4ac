// The viewer: one connection, then it says why it ended. A ticket works once, so it never reconnects.
import RFB from './novnc/core/rfb.js';

const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get('token') ?? '';

/** The relay tells its reason in the close frame; the browser tells nothing when there was none. */
let farewell = '';

function show(state, text) {
    document.body.dataset.state = state;
    byId('status').textContent = text;
}

function over(text) {
    show('over', 'Closed');
    byId('reason').textContent = text;
    byId('over').hidden = false;
    byId('ctrl-alt-del').disabled = true;
}

function open() {
    const url = new URL('/websockify', location.href);
    url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('token', token);
    const socket = new WebSocket(url, ['binary']);
    socket.addEventListener('close', (event) => { farewell = event.reason; });
    return new RFB(byId('screen'), socket, { shared: true });
}

function start() {
    const rfb = open();
    let connected = false;
    rfb.background = '#000';
    rfb.scaleViewport = byId('scale').checked;
    rfb.addEventListener('connect', () => {
        connected = true;
        show('open', 'Connected');
        byId('ctrl-alt-del').disabled = false;
        rfb.focus();
    });
    rfb.addEventListener('desktopname', (event) => {
        document.title = event.detail.name || 'Console';
        show('open', event.detail.name ? `Connected to ${event.detail.name}` : 'Connected');
    });
    rfb.addEventListener('credentialsrequired', () => {
        farewell = 'This screen asks for a password, which the console does not have.';
        rfb.disconnect();
    });
    rfb.addEventListener('disconnect', () => {
        over(farewell || (connected
            ? 'The connection was interrupted.'
            : 'The connection was refused: the link was used before, or has expired.'));
    });
    byId('ctrl-alt-del').addEventListener('click', () => { rfb.sendCtrlAltDel(); rfb.focus(); });
    byId('scale').addEventListener('change', (event) => { rfb.scaleViewport = event.target.checked; rfb.focus(); });
}

byId('fullscreen').addEventListener('click', () => {
    if (document.fullscreenElement) {
        document.exitFullscreen();
    } else {
        document.documentElement.requestFullscreen();
    }
});
start();
