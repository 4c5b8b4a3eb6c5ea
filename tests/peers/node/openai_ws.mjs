// The `openai` package's OpenAIRealtimeWS, with what its users write themselves: playback and truncation.

import { once } from 'node:events';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { ClientCall } from './voice.mjs';

const clientCall = new ClientCall();
const { notes, loudspeaker } = clientCall;
const tool = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather at a place',
  parameters: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] },
};

await clientCall.run(async () => {
  const client = new OpenAI({ apiKey: clientCall.key, baseURL: `${clientCall.url}/v1` });
  const realtime = new OpenAIRealtimeWS({ model: clientCall.agent }, client);
  const playing = { itemId: undefined, beganMs: 0 };

  realtime.on('event', (event) => notes.events.push(event));
  realtime.on('error', (error) => notes.errors.push(String(error)));
  realtime.on('response.output_audio.delta', (event) => {
    if (event.item_id !== playing.itemId) Object.assign(playing, { itemId: event.item_id, beganMs: loudspeaker.gotMs });
    loudspeaker.play(Buffer.from(event.delta, 'base64'));
  });
  realtime.on('response.output_audio_transcript.done', (event) => notes.agent_said.push(event.transcript));
  realtime.on('conversation.item.input_audio_transcription.completed', (event) =>
    notes.caller_said.push(event.transcript),
  );
  realtime.on('input_audio_buffer.speech_started', () => {
    if (loudspeaker.silent) return;
    const heardMs = Math.floor(loudspeaker.heardMs - playing.beganMs);
    loudspeaker.clear();
    notes.interruptions += 1;
    realtime.send({
      type: 'conversation.item.truncate',
      item_id: playing.itemId,
      content_index: 0,
      audio_end_ms: heardMs,
    });
  });
  realtime.on('response.done', ({ response }) => {
    const calls = response.output.filter((item) => item.type === 'function_call');
    for (const call of calls) {
      const output = clientCall.weather(JSON.parse(call.arguments).place);
      realtime.send({
        type: 'conversation.item.create',
        item: { type: 'function_call_output', call_id: call.call_id, output },
      });
    }
    if (calls.length) realtime.send({ type: 'response.create' });
  });

  await once(realtime.socket, 'open');
  realtime.send({ type: 'session.update', session: { type: 'realtime', tools: [tool] } });
  const speech = clientCall.microphone.pour((frame) =>
    realtime.send({ type: 'input_audio_buffer.append', audio: frame.toString('base64') }),
  );
  await clientCall.talk((text) => {
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
    realtime.send({ type: 'conversation.item.create', item });
    realtime.send({ type: 'response.create' });
  });
  await speech;
  const closed = once(realtime.socket, 'close');
  realtime.close();
  await closed;
});
