// The form's options, made of the API's own description.

const NAMES = { rule: "Fusion", flip: "Mirror too", strict: "MNI space only", register: "Register first" };
const LEFT_OUT = ["grid"]; // the page shows the scan's own grid

export function show(container, parameters) {
  container.replaceChildren(...parameters.filter((one) => !LEFT_OUT.includes(one.name)).map(row));
}

function row({ name, description, schema }) {
  const line = document.createElement("div");
  line.className = "option";
  const label = document.createElement("label");
  label.htmlFor = `option-${name}`;
  label.textContent = NAMES[name] || name[0].toUpperCase() + name.slice(1);
  const help = document.createElement("p");
  help.className = "quiet";
  help.id = `help-${name}`;
  help.textContent = `${description}.`;
  const field = made(schema);
  field.id = label.htmlFor;
  field.name = name;
  field.setAttribute("aria-describedby", help.id);
  line.append(label, field, help);
  return line;
}

function made(schema) {
  if (schema.enum) {
    const field = document.createElement("select");
    field.append(...schema.enum.map((value) => new Option(value, value, value === schema.default)));
    field.value = schema.default;
    return field;
  }
  const field = document.createElement("input");
  if (schema.type === "boolean") {
    field.type = "checkbox";
    field.checked = schema.default;
  } else {
    field.type = "number";
    Object.assign(field, { min: 0.01, max: 0.99, step: 0.01, required: true, value: schema.default });
  }
  return field;
}

export function chosen(container) {
  const fields = [...container.querySelectorAll("input, select")];
  return Object.fromEntries(fields.map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value]));
}
