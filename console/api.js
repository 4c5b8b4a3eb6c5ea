// The gateway's HTTP API: the list of agents, the API key, and client secrets.

// The key is kept only in this page's memory, because a stored key could be stolen.
let key = null;

export const hasKey = () => key !== null;

export function useKey(value) {
  key = value;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The gateway cannot be reached.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const problem = new Error(body.error?.message || `The gateway answered ${answer.status}.`);
  throw Object.assign(problem, { status: answer.status });
}

export async function listAgents() {
  return (await ask("/api/v1/agents")).agents;
}

// Returns a secret that is valid for one agent and one minute, so that no socket gets the key. Null if none is required.
export async function mintSecret(agent) {
  if (key === null) return null;
  const answer = await ask("/v1/realtime/client_secrets", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      session: { type: "realtime", model: agent },
      expires_after: { anchor: "created_at", seconds: 60 },
    }),
  });
  return answer.value;
}

// A browser does not tell a page why a socket was refused, so look for the reason over HTTP. Null if none is found.
export async function whyRefused(agent) {
  try {
    const found = (await listAgents()).find(({ name }) => name === agent);
    if (!found) return `There is no agent ${agent} any more.`;
    if (!found.available) return found.reason || "This agent cannot be called at the moment.";
    return (await fetch("/readyz")).ok ? null : "The gateway is shutting down.";
  } catch (problem) {
    return problem.message;
  }
}
