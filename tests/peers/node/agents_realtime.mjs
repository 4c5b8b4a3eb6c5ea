// The `@openai/agents-realtime` session: it runs the tool, tracks playback and truncates by itself.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { ClientCall } from './voice.mjs';

const clientCall = new ClientCall();
const { notes, loudspeaker } = clientCall;

const getWeather = tool({
  name: 'get_weather',
  description: 'The weather at a place',
  parameters: z.object({ place: z.string() }),
  execute: async ({ place }) => clientCall.weather(place),
});

function said(history, role) {
  const messages = history.filter((item) => item.type === 'message' && item.role === role);
  return messages.flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? ''));
}

await clientCall.run(async () => {
  const agent = new RealtimeAgent({ name: 'caller', instructions: 'Be kind.', tools: [getWeather] });
  const url = `${clientCall.url.replace('http', 'ws')}/v1/realtime?model=${clientCall.agent}`;
  const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebSocket({ url }) });

  session.on('transport_event', (event) => notes.events.push(event));
  session.on('audio', (event) => loudspeaker.play(event.data));
  session.on('audio_interrupted', () => {
    loudspeaker.clear();
    notes.interruptions += 1;
  });
  session.on('history_updated', (history) => {
    notes.agent_said = said(history, 'assistant');
    notes.caller_said = said(history, 'user');
  });
  session.on('error', ({ error }) => notes.errors.push(JSON.stringify(error)));

  await session.connect({ apiKey: clientCall.key });
  const speech = clientCall.microphone.pour((frame) =>
    session.sendAudio(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength)),
  );
  await clientCall.talk((text) => session.sendMessage(text));
  await speech;
  session.close();
  await new Promise((resolve) => setTimeout(resolve, 100));
});
