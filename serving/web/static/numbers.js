// The summary of a job as a table, and its files as links.

const VERDICTS = { inside: "in MNI space", outside: "not in MNI space", uncertain: "perhaps not in MNI space" };
const FILES = {
  mask: "Mask (1 = lesion)",
  probability: "Probability map",
  planes: "Probability maps of the planes",
  summary: "These numbers, as JSON",
};

const ml = (value) => `${value.toFixed(2)} ml`;

export function show(table, summary) {
  const sizes = [...summary.lesion_sizes_ml].sort((a, b) => b - a);
  const listed = sizes.slice(0, 10).map(ml).join(", ") + (sizes.length > 10 ? `, and ${sizes.length - 10} smaller` : "");
  const models = Object.entries(summary.models).map(([plane, model]) => `${plane} ${model.version}`);
  const apart = summary.disagreement;
  const rows = [
    ["Lesion volume", ml(summary.lesion_volume_ml)],
    ["Lesions", String(summary.lesion_count)],
    ["Their volumes", sizes.length ? listed : "none"],
    ["Planes disagree by", apart === null ? "one plane alone" : `${apart.toFixed(3)} (0: they agree, 1: nothing in common)`],
    ["Position", VERDICTS[summary.mni_check.verdict] || summary.mni_check.verdict],
    ["Grid", `${summary.grid.shape.join(" x ")} voxels of ${summary.grid.voxel_mm.map((edge) => edge.toFixed(2)).join(" x ")} mm`],
    ["Models", models.join(", ") + (summary.release ? `; release ${summary.release}` : "")],
    ["Trained on", summary.training],
    ["Settings", Object.entries(summary.options).map(([name, value]) => `${name} ${value}`).join(", ")],
    ["Time", `${summary.seconds.toFixed(1)} s`],
  ];
  table.tBodies[0].replaceChildren(...rows.map(row));
}

function row([name, value]) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(head);
  line.insertCell().textContent = value;
  return line;
}

export function list(container, texts) {
  container.replaceChildren(
    ...texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

// Links that fetch when they are used, since a link alone cannot bring a token.
export function files(container, results, stem, fetched) {
  container.replaceChildren(
    ...Object.entries(results).map(([name, path]) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = path;
      link.download = `${stem}_${path.split("/").pop()}`;
      link.textContent = FILES[name] || name;
      link.addEventListener("click", async (event) => {
        if (link.href.startsWith("blob:")) return;
        event.preventDefault();
        const blob = await fetched(path);
        if (!blob) return;
        link.href = URL.createObjectURL(blob);
        link.click();
      });
      item.append(link);
      return item;
    }),
  );
}
