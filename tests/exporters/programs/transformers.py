"""PyTorch, small transformers models with random weights, by TorchScript and by dynamo"""

import torch
import transformers as t
from writing import write

REQUIREMENTS = [
    "torch==2.13.0",
    "transformers==5.24.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
    "numpy==2.4.6",
]
REFUSED = 3
torch.manual_seed(0)
ids = torch.tensor([[5, 17, 3, 60, 2, 9], [1, 8, 44, 2, 0, 0]])
mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
image = torch.randn(2, 3, 32, 32)
deep = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
text = {**deep, "vocab_size": 99, "intermediate_size": 32, "max_position_embeddings": 64}
sight = {**deep, "intermediate_size": 32, "image_size": 32, "patch_size": 8}

#: name -> a function that makes the model, its inputs
MODELS = {
    "bert": (lambda: t.BertModel(t.BertConfig(**text)), (ids, mask)),
    "roberta": (lambda: t.RobertaModel(t.RobertaConfig(**text)), (ids, mask)),
    "albert": (lambda: t.AlbertModel(t.AlbertConfig(**text, embedding_size=8)), (ids, mask)),
    "electra": (lambda: t.ElectraModel(t.ElectraConfig(**text, embedding_size=8)), (ids, mask)),
    "distilbert": (
        lambda: t.DistilBertModel(
            t.DistilBertConfig(vocab_size=99, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        ),
        (ids, mask),
    ),
    "deberta": (
        lambda: t.DebertaV2Model(
            t.DebertaV2Config(
                **text,
                relative_attention=True,
                position_buckets=8,
                pos_att_type=["p2c", "c2p"],
                norm_rel_ebd="layer_norm",
            )
        ),
        (ids, mask),
    ),
    "mpnet": (lambda: t.MPNetModel(t.MPNetConfig(**text)), (ids, mask)),
    "gpt2": (
        lambda: t.GPT2LMHeadModel(
            t.GPT2Config(
                vocab_size=99, n_positions=64, n_embd=16, n_layer=2, n_head=2, use_cache=False
            )
        ),
        (ids,),
    ),
    "llama": (
        lambda: t.LlamaForCausalLM(t.LlamaConfig(**text, num_key_value_heads=1, use_cache=False)),
        (ids, mask),
    ),
    "qwen2": (
        lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**text, num_key_value_heads=1, use_cache=False)),
        (ids, mask),
    ),
    "mistral": (
        lambda: t.MistralModel(
            t.MistralConfig(**text, num_key_value_heads=1, sliding_window=3, use_cache=False)
        ),
        (ids, mask),
    ),
    "gpt-neox": (lambda: t.GPTNeoXModel(t.GPTNeoXConfig(**text, use_cache=False)), (ids, mask)),
    "t5-encoder": (
        lambda: t.T5EncoderModel(
            t.T5Config(vocab_size=99, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        ),
        (ids, mask),
    ),
    "vit": (lambda: t.ViTModel(t.ViTConfig(**sight)), (image,)),
    "deit": (lambda: t.DeiTModel(t.DeiTConfig(**sight)), (image,)),
    "dinov2": (
        lambda: t.Dinov2Model(t.Dinov2Config(**deep, image_size=32, patch_size=8)),
        (image,),
    ),
    "clip-vision": (lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**sight)), (image,)),
    "clip-text": (lambda: t.CLIPTextModel(t.CLIPTextConfig(**text, eos_token_id=2)), (ids, mask)),
    "swin": (
        lambda: t.SwinModel(
            t.SwinConfig(
                image_size=32,
                patch_size=2,
                embed_dim=8,
                depths=[2, 2],
                num_heads=[2, 2],
                window_size=4,
            )
        ),
        (image,),
    ),
    "convnext": (
        lambda: t.ConvNextModel(
            t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
        ),
        (image,),
    ),
    "resnet": (
        lambda: t.ResNetModel(
            t.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
            )
        ),
        (image,),
    ),
    "segformer": (
        lambda: t.SegformerModel(
            t.SegformerConfig(
                num_encoder_blocks=2,
                depths=[1, 1],
                sr_ratios=[2, 1],
                hidden_sizes=[8, 16],
                patch_sizes=[7, 3],
                strides=[4, 2],
                num_attention_heads=[1, 2],
                mlp_ratios=[2, 2],
            )
        ),
        (image,),
    ),
    "wav2vec2": (
        lambda: t.Wav2Vec2Model(
            t.Wav2Vec2Config(
                **deep,
                intermediate_size=32,
                conv_dim=(8, 8),
                conv_stride=(5, 2),
                conv_kernel=(10, 3),
                num_conv_pos_embeddings=8,
                num_conv_pos_embedding_groups=2,
            )
        ),
        (torch.randn(2, 400),),
    ),
    "whisper-encoder": (
        lambda: (
            t.WhisperModel(
                t.WhisperConfig(
                    vocab_size=99,
                    num_mel_bins=8,
                    encoder_layers=2,
                    decoder_layers=1,
                    encoder_attention_heads=2,
                    decoder_attention_heads=2,
                    d_model=16,
                    encoder_ffn_dim=32,
                    decoder_ffn_dim=32,
                    max_source_positions=20,
                    pad_token_id=0,
                    bos_token_id=1,
                    eos_token_id=2,
                    decoder_start_token_id=1,
                )
            ).encoder
        ),
        (torch.randn(1, 8, 40),),
    ),
}


class First(torch.nn.Module):
    """The model's first output, given its inputs by position."""

    def __init__(self, model, named):
        super().__init__()
        self.model, self.named = model, named

    def forward(self, *xs):
        if not self.named:
            return self.model(*xs)[0]
        more = {"attention_mask": xs[1]} if len(xs) > 1 else {}
        return self.model(input_ids=xs[0], **more)[0]


for name, (make, inputs) in MODELS.items():
    try:
        model = First(make().eval(), inputs[0].dtype == torch.int64).eval()
    except Exception as error:  # this version of transformers can't make it: no file
        print(name, error)
        continue
    for way, opset in (("script", 17), ("dynamo", 18)):

        def answer(*_, model=model, inputs=inputs):
            with torch.no_grad():
                return model(*inputs)

        def to(path, model=model, inputs=inputs, way=way, opset=opset):
            torch.onnx.export(model, inputs, path, opset_version=opset, dynamo=way == "dynamo")

        write(f"{way}-{name}", to, list(inputs), answer)
