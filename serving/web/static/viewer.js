// Scan and lesions in three planes and in 3-D, by NiiVue; without WebGL 2 there is no picture.

const OVERLAYS = { mask: ["red", 0.5, 1], probability: ["warm", 0.05, 1] };
let viewer = null;
let lesion = null; // in the middle of the largest, mm

export function available() {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

export async function open(canvas, scan, overlay, kind, moved) {
  if (!viewer) {
    viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.4, 0.8, 1, 0.9],
      crosshairWidth: 0.5,
      dragAndDropEnabled: false,
      isColorbar: false,
      multiplanarShowRender: 1,
      show3Dcrosshair: true,
      fontMinPx: 14,
      logLevel: "error",
    });
    await viewer.attachToCanvas(canvas);
    viewer.setInterpolation(true); // voxels as they are
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.setMultiplanarLayout(2);
  }
  for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
  viewer.onLocationChange = () => moved(position());
  viewer.addVolume(await niivue.NVImage.loadFromFile({ file: scan, name: scan.name, colormap: "gray" }));
  await lay(overlay, kind, 0.6);
}

// Lays a mask or a probability map over the scan, in place of what lay there.
export async function lay(blob, kind, opacity) {
  const [colormap, low, high] = OVERLAYS[kind];
  const file = new File([blob], `${kind}.nii.gz`);
  const settings = { file, name: file.name, colormap, opacity, cal_min: low, cal_max: high, trustCalMinMax: false };
  const image = await niivue.NVImage.loadFromFile(settings);
  Object.assign(image, { cal_min: low, cal_max: high });
  if (kind === "mask") lesion = middle(image);
  if (viewer.volumes.length > 1) viewer.removeVolume(viewer.volumes[1]);
  viewer.addVolume(image);
  viewer.updateGLVolume();
}

export function fade(opacity) {
  viewer.setOpacity(1, opacity);
}

export function position() {
  return [...viewer.scene.crosshairPos];
}

export function move(place) {
  viewer.scene.crosshairPos = place;
  viewer.drawScene();
}

// Turns to the largest lesion; false where there is none.
export function jump() {
  if (!lesion) return false;
  move([...viewer.mm2frac(lesion)]);
  return true;
}

// The voxel of the largest lesion that is nearest to its center, in mm; null where the mask is empty.
function middle(image) {
  const [nx, ny, nz] = image.hdr.dims.slice(1, 4);
  const largest = biggest(image.img, [nx, ny, nz]);
  if (!largest.length) return null;
  const places = largest.map((i) => [i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny))]);
  const mean = [0, 1, 2].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
  const far = (place) => place.reduce((sum, value, axis) => sum + (value - mean[axis]) ** 2, 0);
  const nearest = places.reduce((best, place) => (far(place) < far(best) ? place : best));
  return image.hdr.affine.slice(0, 3).map((row) => row[0] * nearest[0] + row[1] * nearest[1] + row[2] * nearest[2] + row[3]);
}

// Indices of the largest group of voxels that touch by their faces.
function biggest(voxels, [nx, ny, nz]) {
  const seen = new Uint8Array(voxels.length);
  let best = [];
  for (let start = 0; start < voxels.length; start++) {
    if (seen[start] || voxels[start] < 0.5) continue;
    const group = [start];
    seen[start] = 1;
    for (let n = 0; n < group.length; n++) {
      const i = group[n];
      const [x, y, z] = [i % nx, Math.floor(i / nx) % ny, Math.floor(i / (nx * ny))];
      const near = [x > 0 && i - 1, x < nx - 1 && i + 1, y > 0 && i - nx, y < ny - 1 && i + nx];
      near.push(z > 0 && i - nx * ny, z < nz - 1 && i + nx * ny);
      for (const j of near) {
        if (j === false || seen[j] || voxels[j] < 0.5) continue;
        seen[j] = 1;
        group.push(j);
      }
    }
    if (group.length > best.length) best = group;
  }
  return best;
}
