"""A GGUF file as a folder that vLLM can load: weights as safetensors (bf16), configuration, tokenizer and chat template.

    .venv-vllm/bin/python scripts/vllm/model.py FILE.gguf FOLDER

Nothing is fetched. The weights are what the file's quantisation left of them; transformers will not save a model that it
read from a GGUF file, so they are put into a plain one.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def main(gguf: Path, folder: Path) -> None:
    place, file = str(gguf.parent), gguf.name
    config = AutoConfig.from_pretrained(place, gguf_file=file)
    read = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=torch.bfloat16)
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(read.state_dict())
    plain.tie_weights()
    plain.generation_config = read.generation_config
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file)
    if not tokenizer.chat_template:
        raise SystemExit(f"{gguf} has no chat template")
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    plain.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
