"""Price of attention statistics over a plain forward pass, and against storing the attention.

    .venv/bin/python benchmarks/attention.py

One process, an encoder of Geneformer V1's size with random weights (speed does not depend on
them), cells of one length in batches of about 4,096 tokens:

- plain: transformers' forward pass with fused attention, which is what any use of the model costs;
- ours: with every statistic of attention but the norm over heads, summed by rank, gene and class;
- ours_pairs: with that norm as well;
- received_off_in_bf16: how far attention received in bf16, as on a GPU, is from float32, in the
  first layer, over all its heads and positions: no time, but the price of `attention.precision`;
- eager: ``output_attentions=True`` and the same statistics from the matrices it returns, which is
  what a user would write.
"""

import sys
from pathlib import Path

import numpy as np
import timing
import torch
from transformers import BertModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from keygenes.attention.fused import Fused  # noqa: E402
from keygenes.attention.norms import value_norms  # noqa: E402
from keygenes.attention.stream import LayerStatistics  # noqa: E402
from keygenes.attention.sums import Sums, add_batch, attention_sums  # noqa: E402
from keygenes.models.batches import padded  # noqa: E402
from keygenes.models.bert import Trunk  # noqa: E402
from keygenes.models.encoder import small_config  # noqa: E402

TOKENS, CLASSES, LONGEST = 25_426, 5, 2048
BATCH_TOKENS = 4096
TARGETS = {683: "<= 1.5", 2048: "<= 1.6"}


def encoder(device, build=BertModel):
    """Return an encoder of Geneformer V1's size with random weights, transformers' or our own."""
    config = small_config(vocabulary_size=TOKENS, max_length=LONGEST, layers=6, heads=4, hidden=256)
    torch.manual_seed(0)
    return build(config, False).eval().to(device)


def random_cells(length):
    """Return one batch of cells of a length."""
    rng = np.random.default_rng(0)
    genes = np.arange(2, TOKENS)
    return [rng.permutation(genes)[:length] for _ in range(max(1, BATCH_TOKENS // length))]


def finish(device):
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def plain(trunk, cells, precision=torch.float32):
    """Run the forward pass alone."""
    trunk.set_attn_implementation("sdpa")
    ids, mask = padded(cells, trunk.device)
    with torch.autocast(trunk.device.type, precision, enabled=precision != torch.float32):
        trunk(input_ids=ids, attention_mask=mask)
    finish(trunk.device)


def ours(trunk, cells, pair_norms=False):
    """Run the forward pass with our statistics."""
    classes = np.arange(len(cells)) % CLASSES
    sizes = {"n_classes": CLASSES, "n_wells": CLASSES, "max_length": LONGEST}
    attention_sums(
        trunk, cells, classes, classes, **sizes, batch_tokens=BATCH_TOKENS, pair_norms=pair_norms
    )
    finish(trunk.device)


@torch.inference_mode()
def eager(trunk, cells):
    """Run the forward pass, let it return its attention, and reduce that."""
    trunk.set_attn_implementation("eager")
    ids, mask = padded(cells, trunk.device)
    output = trunk(
        input_ids=ids, attention_mask=mask, output_attentions=True, output_hidden_states=True
    )
    length, last = ids.shape[1], int(np.ceil(0.9 * ids.shape[1]))
    layers = []
    for layer, a, hidden in zip(
        trunk.encoder.layer, output.attentions, output.hidden_states, strict=False
    ):
        attention = layer.attention
        values = attention.self.value(hidden).view(len(cells), length, 4, 64).transpose(1, 2)
        rows = {
            "entropy": torch.special.entr(a).sum(-1).mean(-1),
            "to_self": a.diagonal(dim1=2, dim2=3).mean(-1),
            "to_first": a[..., 0].mean(-1),
            "to_last_decile": a[..., last:].sum(-1).mean(-1),
        }
        context = (a @ values).transpose(1, 2).flatten(2)
        output_norm = (context @ attention.output.dense.weight.T).norm(dim=-1)
        norms = value_norms(values, attention.output.dense.weight)
        layers.append(LayerStatistics(a.sum(2), rows, norms, None, output_norm))
    classes = torch.arange(len(cells), device=trunk.device) % CLASSES
    sums = Sums(6, 4, TOKENS, LONGEST, CLASSES, CLASSES, device=trunk.device)
    add_batch(sums, layers, ids, mask, classes, classes)
    finish(trunk.device)


@torch.inference_mode()
def off_in_bf16(trunk, cells):
    """Return how far attention received is off in bf16, relative to float32: all positions.

    Computed as on a GPU, on a CPU too.
    """
    ids, mask = padded(cells, trunk.device)
    query, key, value = trunk.layers[0].heads(trunk.embeddings(ids))
    received = []
    for dtype in (torch.float32, torch.bfloat16):
        _, found, *_ = Fused(mask).reduced(query.to(dtype), key.to(dtype), value.to(dtype))
        received.append(found.flatten())
    return ((received[1] - received[0]).abs() / received[0]).cpu().numpy()


def run_alone(name, length, threads):
    """Run one candidate; for the memory that it takes."""
    torch.set_num_threads(threads)
    {"plain": plain, "ours": ours, "eager": eager}[name](
        encoder(torch.device("cpu"), Trunk if name == "ours" else BertModel), random_cells(length)
    )


def per_cell_fit(lengths, seconds):
    """Return (linear, quadratic) coefficients of seconds per cell over length, both >= 0."""
    design = np.stack([lengths, np.square(lengths)], 1).astype(float)
    scale = design.max(0)
    weights = 1 / np.asarray(seconds)  # relative errors count alike
    fit = np.linalg.lstsq(design / scale * weights[:, None], np.ones(len(lengths)), rcond=None)[0]
    return fit / scale


def main():
    """Time all candidates at every length and print the ratios."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = timing.arguments(__doc__, [("--device", {"default": device})], threads=2)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    trunk, hub = encoder(device, Trunk), encoder(device)
    lengths = [256, 683] if options.quick else [256, 683, 1430, 2048]
    results, per_cell = [], {"plain": [], "ours": []}
    for length in lengths:
        cells = random_cells(length)
        candidates = {
            "plain": lambda cells=cells: plain(hub, cells),
            "ours": lambda cells=cells: ours(trunk, cells),
            "ours_pairs": lambda cells=cells: ours(trunk, cells, pair_norms=True),
            "eager": lambda cells=cells: eager(hub, cells),
        }
        if device.type == "cuda":
            candidates["plain_bf16"] = lambda cells=cells: plain(hub, cells, torch.bfloat16)
        timed = timing.ratios(candidates, "plain", options.repeats)
        for name, of_name in timed.items():
            if name in per_cell:
                per_cell[name].append(of_name["seconds"]["value"] / len(cells))
        results.append(
            timing.result(f"ours_over_plain_{length}", timed["ours"]["ratio"], TARGETS.get(length))
        )
        target = "<= 2.0" if length in TARGETS else None
        results.append(
            timing.result(f"ours_pairs_over_plain_{length}", timed["ours_pairs"]["ratio"], target)
        )
        seconds = {name: of_name["all_seconds"] for name, of_name in timed.items()}
        if device.type == "cuda":
            over = timing.spread(seconds["ours"] / seconds["plain_bf16"])
            results.append(timing.result(f"ours_over_plain_bf16_{length}", over))
        results.append(
            timing.result(
                f"eager_over_ours_{length}",
                timing.spread(seconds["eager"] / seconds["ours"]),
                ">= 1.5" if length == 2048 else None,
            )
        )
        results.append(
            timing.result(
                f"cells_per_second_ours_{length}",
                timing.spread(len(cells) / seconds["ours"]),
                unit="/s",
            )
        )
    off = 100 * off_in_bf16(trunk, random_cells(lengths[1]))
    for name, share in (("median", 0.5), ("99_of_100", 0.99)):
        value = float(np.quantile(off, share))
        results.append(timing.result(f"received_off_in_bf16_{name}", value, unit="%"))
    for name, of_name in per_cell.items():
        linear, quadratic = per_cell_fit(lengths, of_name)
        results.append(timing.result(f"ms_per_1000_tokens_{name}", 1e6 * linear, unit="ms"))
        results.append(timing.result(f"ms_per_million_pairs_{name}", 1e9 * quadratic, unit="ms"))
    if device.type == "cpu":
        longest = lengths[-1]
        peak = {
            name: timing.apart(run_alone, name, longest, options.threads)[2]
            for name in ("plain", "ours", "eager")
        }
        for name, target in (("ours", "<= 1.25"), ("eager", None)):
            results.append(
                timing.result(
                    f"peak_memory_{name}_over_plain_{longest}", peak[name] / peak["plain"], target
                )
            )
        results.append(timing.result(f"peak_memory_plain_{longest}", peak["plain"], unit="MB"))
    notes = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": options.threads,
        "batch_tokens": BATCH_TOKENS,
        "lengths": lengths,
        "encoder": "6 layers, 4 heads, 256 wide",
    }
    timing.emit("attention", results, notes)


if __name__ == "__main__":
    main()
