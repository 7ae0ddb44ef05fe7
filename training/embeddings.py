"""Whether the detector's pass could give the embeddings of the cache as well: it ranks pairs of questions much worse.

python -m training.embeddings [--pairs 4000]

Both models read the same pairs of Quora's questions. What the heads of the detector read is taken as its embedding. The
area under the curve says how often a pair with one meaning is nearer than a pair with two.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from random import Random

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tidegate.models.embedding import FOLDER as MINILM
from tidegate.models.files import fed, open_session
from tidegate.ops.evals.statistics import auc, recall_at
from training.shipping import DETECTOR, MODELS
from training.sources import pairs
from training.states import WINDOW_TOKENS
from training.train import MODEL

Vectors = NDArray[np.float32]


def with_embedding(model: Path, to: Path) -> str:
    """Write the detector with the input of its heads as another output; return the name of that output."""
    graph = onnx.load(str(model))
    [heads] = [node for node in graph.graph.node if "logits" in node.output]
    names = {name for node in graph.graph.node for name in node.output}
    found = next(name for name in heads.input if name in names)
    graph.graph.output.append(onnx.helper.make_tensor_value_info(found, onnx.TensorProto.FLOAT, None))
    onnx.save(graph, str(to))
    return found


def vectors(model: Path, output: str, rows: list[list[int]]) -> Vectors:
    """Return a vector of length 1 for each text. Texts are read one by one, so that none changes another."""
    session = open_session(model, threads=2)
    found = [session.run([output], fed([row]))[0] for row in rows]
    every = np.array([one.reshape(-1, one.shape[-1]).mean(0) for one in found], np.float32)
    return every / np.linalg.norm(every, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4000, help="(default: %(default)s)")
    given = parser.parse_args()
    some = Random(0).sample(pairs(), given.pairs)
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW_TOKENS)
    rows = [
        [tokenizer.encode(text).ids for text in side]
        for side in ([one[0] for one in some], [one[1] for one in some])
    ]
    same = np.array([one[2] for one in some])
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / MODEL
        inside = with_embedding(MODELS / DETECTOR / MODEL, copy)
        for name, model, output in (
            ("MiniLM", next(MINILM.glob("*.onnx")), "embedding"),
            ("detector", copy, inside),
        ):
            left, right = (vectors(model, output, side) for side in rows)
            near = (left * right).sum(1).astype(np.float64)
            area, recall = auc(near[same], near[~same]), recall_at(near[same], near[~same], 0.01)
            print(f"{name}: AUC {area}, pairs found at 1 % wrong ones {recall}")


if __name__ == "__main__":
    main()
