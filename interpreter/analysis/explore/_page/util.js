"use strict";
/* Helpers that the other files share. */

const DATA = JSON.parse(document.getElementById("data").textContent);

/* A page around this one may compute more: HOST.download(name) saves a value as .npy, HOST.saliency()
   computes it, and sends it here as the message {found}. A file alone has none. */
const HOST = window.HOST || null;

/** An element: make("p", {class: "note"}, "text", child, …) */
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function makeSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value; // which a strict policy allows
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

const byId = id => document.getElementById(id);

/** The original index, of ``was``, of the i-th of ``is`` evenly spaced items. */
const chosenOf = (i, was, is) => Math.floor(i * was / is);

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** A number with four digits and no trailing zeros. */
function number(value) {
  if (value === null || value === undefined) return "";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4) && !(Number.isInteger(value) && size < 1e10))
    return value.toExponential(2).replace("-", "−");
  const text = Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toPrecision(4));
  return text.replace("-", "−");
}

function duration(seconds) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]])
    if (seconds >= size) return `${(seconds / size).toPrecision(3)} ${unit}`;
  return `${(seconds * 1e9).toFixed(0)} ns`;
}

function amount(count, unit) {
  for (const [prefix, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (count >= size) return `${(count / size).toPrecision(3)} ${prefix}${unit}`;
  return `${count} ${unit}`;
}

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** A long name with its middle left out. */
function shortened(text, most) {
  if (text.length <= most) return text;
  const end = Math.ceil((most - 1) * 0.6);
  return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`;
}

/* Kinds of operators, each with a colour (after Okabe and Ito, for colour-blind people). */
const KINDS = [
  ["ends", "input, output", "Input Output Iteration"],
  ["linear", "convolution, product", "Conv ConvTranspose FusedConv ConvInteger QLinearConv DeformConv MatMul " +
    "Gemm FusedMatMul MatMulInteger QLinearMatMul Einsum Gather"],
  ["recurrent", "recurrent", "RNN LSTM GRU Scan Loop"],
  ["attention", "softmax, attention", "Softmax LogSoftmax Hardmax Attention MultiHeadAttention " +
    "GroupQueryAttention RotaryEmbedding"],
  ["activation", "activation", "Relu LeakyRelu PRelu Elu Selu Celu Gelu FastGelu Sigmoid HardSigmoid " +
    "Tanh Softplus Softsign Swish HardSwish Mish Clip ThresholdedRelu Erf Exp Shrink"],
  ["norm", "normalization", "BatchNormalization LayerNormalization InstanceNormalization " +
    "GroupNormalization RMSNormalization LRN LpNormalization MeanVarianceNormalization " +
    "SkipLayerNormalization SimplifiedLayerNormalization Dropout"],
  ["pool", "pooling, reduction", "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool " +
    "GlobalLpPool ArgMax ArgMin TopK ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 " +
    "ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp CumSum"],
  ["moving", "shape, copy", "Reshape Transpose Flatten Squeeze Unsqueeze Concat Split Slice Pad " +
    "Expand Tile Shape Size Identity Cast CastLike Constant ConstantOfShape GatherND GatherElements " +
    "ScatterND ScatterElements DepthToSpace SpaceToDepth Resize Upsample Range Where ReverseSequence"],
  ["other", "arithmetic, other", ""],
];
const KIND_OF = new Map(KINDS.flatMap(([kind, , names]) => names.split(" ").map(n => [n, kind])));
const kindOf = operator => KIND_OF.get(operator) || "other";
