/* Pictures and sounds as numbers: from files, the camera, the microphone. */

const MOST_PIXELS = 50e6, MOST_SECONDS = 120;

/** The pixels of an image, canvas or video: {width, height, name, blob} with RGBA bytes. */
function pixelsOf(source, width, height, name) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0);
  const image = context.getImageData(0, 0, width, height);
  return { width, height, name, image, blob: new Blob([image.data]) };
}

export async function pictureOf(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${file.name}: not a picture that this browser reads, or damaged`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS)
    throw new Error(`${file.name}: ${width} × ${height} pixels are more than ${MOST_PIXELS / 1e6} million`);
  return pixelsOf(bitmap, width, height, file.name);
}

/** The camera's picture in a video element; `take()` returns one, `stop()` switches it off. */
export async function camera(video) {
  const stream = await allowed("camera", { video: { facingMode: "environment" } });
  video.srcObject = stream;
  await video.play();
  return {
    take: () => pixelsOf(video, video.videoWidth, video.videoHeight, "the camera"),
    stop: () => stream.getTracks().forEach(track => track.stop()),
  };
}

async function allowed(device, what) {
  try {
    return await navigator.mediaDevices.getUserMedia(what);
  } catch (error) {
    const reason = { NotAllowedError: "it isn't allowed", NotFoundError: "there is none" }[error.name];
    throw new Error(`the ${device} can't be used: ${reason || error.message || "this address isn't secure"}`);
  }
}

/** A sound as one channel of float32 samples: {rate, seconds, name, blob} */
export async function soundOf(file, rate) {
  const data = await file.arrayBuffer();
  let sound;
  try { // decoding brings it to the rate
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(data);
  } catch {
    throw new Error(`${file.name}: not a sound that this browser reads, or damaged`);
  }
  if (sound.duration > MOST_SECONDS)
    throw new Error(`${file.name}: ${sound.duration.toFixed(0)} s are more than ${MOST_SECONDS} s`);
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++)
    sound.getChannelData(channel).forEach((value, i) => { samples[i] += value / sound.numberOfChannels; });
  return { rate, seconds: sound.duration, name: file.name, blob: new Blob([samples]) };
}

/** Record from the microphone; `stop()` returns a file for `soundOf`. */
export async function microphone() {
  const stream = await allowed("microphone", { audio: true });
  const recorder = new MediaRecorder(stream), parts = [];
  recorder.addEventListener("dataavailable", event => parts.push(event.data));
  const ended = new Promise(resolve => recorder.addEventListener("stop", resolve));
  recorder.start();
  return { async stop() {
    recorder.stop();
    await ended;
    stream.getTracks().forEach(track => track.stop());
    return new File(parts, "the microphone");
  } };
}
