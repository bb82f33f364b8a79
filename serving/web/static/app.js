// A scan in, its lesions out: what the page does from the choice of a file to the picture.

import * as api from "./api.js";
import * as numbers from "./numbers.js";
import * as options from "./options.js";
import * as viewer from "./viewer.js";

const POLL_MS = 700;
const on = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const sliders = [on["slice-x"], on["slice-y"], on["slice-z"]];
let scan = null;
let current = null; // id of the job that is waited for
let done = null; // the job that is shown

function choose(file) {
  scan = file || null;
  on.chosen.textContent = scan ? `${scan.name}, ${(scan.size / 1e6).toFixed(1)} MB` : "No file yet.";
}

function complain(error) {
  on.error.textContent = error.message || String(error);
  if (error.status === 401) {
    on["token-field"].hidden = false;
    on.token.focus();
  }
}

// Runs what a person asked for; what goes wrong is said on the page.
async function attempt(action) {
  on.error.textContent = "";
  try {
    return await action();
  } catch (error) {
    complain(error);
    return null;
  }
}

function busy(yes) {
  on.submit.disabled = on.sample.disabled = yes;
  on.work.hidden = !yes;
}

async function segment() {
  if (!scan) {
    on.file.focus();
    throw new Error("Choose a scan first: a NIfTI file, .nii or .nii.gz.");
  }
  api.setToken(on.token.value);
  const file = scan;
  on.result.hidden = true;
  on.status.textContent = "Sending the scan";
  on.progress.removeAttribute("value");
  busy(true);
  try {
    const job = await wait(await api.submit(file, options.chosen(on.options)));
    if (job.state === "failed") throw new Error(job.error);
    if (job.state === "done") await show(job, file);
  } finally {
    current = null;
    busy(false);
  }
}

async function wait(job) {
  current = job.id;
  while (job.state === "queued" || job.state === "running") {
    tell(job);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (current === null) return { state: "cancelled" };
    job = await api.job(job.id);
  }
  return job;
}

function tell({ state, progress }) {
  const stage = state === "queued" ? "Waiting for its turn" : progress.stage[0].toUpperCase() + progress.stage.slice(1);
  const share = progress.total ? Math.floor((10 * progress.done) / progress.total) * 10 : null;
  const text = share === null ? stage : `${stage}: ${share} %`; // in tens, lest a screen reader never stop
  if (on.status.textContent !== text) on.status.textContent = text;
  if (progress.total) Object.assign(on.progress, { max: progress.total, value: progress.done });
  else on.progress.removeAttribute("value");
}

async function show(job, file) {
  done = job;
  numbers.list(on.warnings, job.warnings);
  numbers.show(on.numbers, job.summary);
  const stem = file.name.replace(/\.nii(\.gz)?$/i, "").replace(/[^\w.-]+/g, "_");
  numbers.files(on.downloads, job.results, stem, (path) => attempt(() => api.result(path)));
  on.result.hidden = false;
  on.overlay.value = "mask";
  on.opacity.value = 60;
  const drawn = viewer.available();
  on["no-view"].hidden = drawn;
  on.frame.hidden = on.controls.hidden = on.jump.hidden = !drawn;
  if (drawn) {
    await viewer.open(on.canvas, file, await api.result(job.results.mask), "mask", follow);
    viewer.jump();
    follow(viewer.position());
  }
  on.jump.disabled = job.summary.lesion_count === 0;
  on["result-heading"].focus();
  document.body.dataset.state = "shown";
}

function follow(place) {
  sliders.forEach((slider, axis) => {
    slider.value = Math.round(place[axis] * 1000);
    slider.setAttribute("aria-valuetext", `${Math.round(place[axis] * 100)} %`);
  });
}

on.file.addEventListener("change", () => choose(on.file.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  on.drop.addEventListener(kind, (event) => {
    event.preventDefault();
    on.drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
  // A file that misses the field must not replace the page.
  document.addEventListener(kind, (event) => event.preventDefault());
}
on.form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(segment);
});
on.sample.addEventListener("click", () =>
  attempt(async () => {
    api.setToken(on.token.value);
    on.sample.disabled = true;
    on.chosen.textContent = "Making a phantom scan";
    try {
      choose(await api.sample());
    } catch (error) {
      choose(null);
      throw error;
    } finally {
      on.sample.disabled = false;
    }
    await segment();
  }),
);
on.cancel.addEventListener("click", () =>
  attempt(async () => {
    const id = current;
    current = null;
    if (id) await api.cancel(id);
    on.submit.focus();
  }),
);
on.opacity.addEventListener("input", () => viewer.fade(on.opacity.value / 100));
on.overlay.addEventListener("change", () =>
  attempt(async () => viewer.lay(await api.result(done.results[on.overlay.value]), on.overlay.value, on.opacity.value / 100)),
);
on.jump.addEventListener("click", () => {
  viewer.jump();
  follow(viewer.position());
});
sliders.forEach((slider, axis) =>
  slider.addEventListener("input", () => {
    const place = viewer.position();
    place[axis] = slider.value / 1000;
    viewer.move(place);
    follow(place);
  }),
);

attempt(async () => options.show(on.options, await api.options()));
api.models().then(
  (found) => {
    on.models.textContent = found.statement;
  },
  (error) => {
    if (error.status === 401) complain(error);
    else on.models.textContent = `The models are not ready: ${error.message}`;
  },
);
