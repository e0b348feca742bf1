"""Small real models of transformers with random weights, as their repositories on the hub are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neglabel.corpora.hub_access import quiet

from .tiny_towers import _tokenizer

KINDS = ("align", "altclip", "groupvit")
CLASSES = {"align": "AlignModel", "altclip": "AltCLIPModel", "groupvit": "GroupViTModel"}
#: Tokens that a prompt is cut to.
CONTEXT = {"align": 64, "altclip": 77, "groupvit": 77}
_BLOCK = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
_CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


def build(folder: Path, kind: str, seed: int = 0, **text: Any) -> Path:
    """A model folder of one of :data:`KINDS`. Returns the folder.

    Args:
        text: changes of the text tower's configuration.
    """
    import torch
    import transformers

    folder.mkdir(parents=True)
    vocabulary = {"align": _bert, "altclip": lambda f: _tokenizer(f, "xlm-r"), "groupvit": _clip}[kind](folder)
    text = {**_BLOCK, "vocab_size": vocabulary, **text}
    torch.manual_seed(seed)
    if kind == "align":
        # One block of EfficientNet; half of its 48 channels is the dimension.
        vision = {
            "image_size": 600, "width_coefficient": 0.5, "depth_coefficient": 1.0, "depth_divisor": 4,
            "kernel_sizes": [3], "in_channels": [32], "out_channels": [48], "strides": [2], "num_block_repeats": [1],
            "expand_ratios": [2], "depthwise_padding": [], "hidden_dim": 64,
        }  # fmt: skip
        config = transformers.AlignConfig(text_config=text, vision_config=vision, projection_dim=24)
        model = transformers.AlignModel(config)
        processor = {
            "image_processor_type": "EfficientNetImageProcessor", "do_resize": True, "do_center_crop": True,
            "size": {"height": 45, "width": 45}, "crop_size": {"height": 37, "width": 37}, "resample": 2,
            "do_rescale": True, "rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False,
            "do_normalize": False,
        }  # fmt: skip
    else:
        vision = {**_BLOCK, "image_size": 32, "patch_size": 8}
        processor = {
            "feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True, "size": 32, "resample": 3,
            "do_center_crop": True, "crop_size": 32, "do_normalize": True, "image_mean": _CLIP["mean"],
            "image_std": _CLIP["std"],
        }  # fmt: skip
        if kind == "altclip":
            text |= {"max_position_embeddings": text.get("max_position_embeddings", 90), "project_dim": 20}
            config = transformers.AltCLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
            model = transformers.AltCLIPModel(config)
        else:
            text |= {"eos_token_id": vocabulary - 1, "bos_token_id": vocabulary - 2} | text
            stages = {"depths": [1, 1, 1], "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]}
            config = transformers.GroupViTConfig(
                text_config=text, vision_config={**vision, "num_hidden_layers": 3, **stages}, projection_dim=24,
                projection_intermediate_dim=40,
            )  # fmt: skip
            model = transformers.GroupViTModel(config)
    for name, values in model.state_dict().items():
        # As after training: of weights this small all prompts would be alike, and a running mean of 0 hides its use.
        if values.is_floating_point() and values.dim():
            values.add_(0.2 * (torch.rand_like(values) if "running_var" in name else torch.randn_like(values)))
    with quiet():
        model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _bert(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz<>!.'0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, "the", "nice", "dog", *letters, *(f"##{letter}" for letter in letters)]
    inner = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=512,
    ).save_pretrained(folder)  # fmt: skip
    return len(tokens)


def _clip(folder: Path) -> int:
    """CLIP's bytes with few merges; as the published one does, it pads with the end token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters.insert(0, letters.pop(letters.index("!")))  # token 0, as in CLIP's
    tokens = [*letters, *(f"{c}</w>" for c in letters), "do", "dog</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    inner = Tokenizer(
        models.BPE(vocabulary, [("d", "o"), ("do", "g</w>")], end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    )
    inner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    start, end = ((token, vocabulary[token]) for token in tokens[-2:])
    inner.post_processor = processors.TemplateProcessing(f"{start[0]} $A {end[0]}", special_tokens=[start, end])
    PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=start[0], eos_token=end[0], unk_token=end[0], pad_token=end[0],
        model_max_length=77,
    ).save_pretrained(folder)  # fmt: skip
    return len(tokens)
