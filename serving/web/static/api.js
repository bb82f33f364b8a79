// The gateway's HTTP interface (docs/gateway.md), as far as the page needs it.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = "";

export function setToken(value) {
  token = value;
}

async function ask(path, settings = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...settings, headers, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached. Is it still running? Try again.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said.error || `The server answered ${response.status}. Try again later.`);
}

export const models = async () => (await ask("/models")).json();

export const sample = async () => new File([await (await ask("/sample.nii.gz")).blob()], "phantom_T1w.nii.gz");

// What may be chosen, as the API itself describes it, so that the page has every option that the server has.
export async function options() {
  const described = await (await ask("/openapi.json")).json();
  return described.paths["/jobs"].post.parameters;
}

export async function submit(file, chosen) {
  return (await ask(`/jobs?${new URLSearchParams(chosen)}`, { method: "POST", body: file })).json();
}

export const job = async (id) => (await ask(`/jobs/${id}`)).json();

export const cancel = (id) => ask(`/jobs/${id}`, { method: "DELETE" });

export const result = async (path) => (await ask(path)).blob();
